// Faces of the teacher and of the chosen tiers, in time with the sound.

const BEFORE_WORST = 0.3; // seconds: to see it coming
const SLOW = 0.25;
const player = { clip: null, faces: [] };

function startPlayer() {
  if (!clips.length) return;
  const select = byId("clip");
  select.replaceChildren(...clips.map((clip, place) => new Option(clip.text.length > 60 ? `${clip.text.slice(0, 57)}…` : clip.text, place)));
  select.addEventListener("change", () => showClip(clips[select.value]));
  byId("caption").textContent = CAPTIONS[report.rig.kind];
  byId("play").addEventListener("click", togglePlay);
  byId("seek").addEventListener("input", (event) => seekClock(Number(event.target.value)));
  byId("loop").addEventListener("change", (event) => setLoop(event.target.checked));
  for (const radio of document.getElementsByName("speed")) {
    radio.addEventListener("change", () => setRate(Number(radio.value)));
  }
  addEventListener("keydown", (event) => {
    const busy = event.target.closest?.("button, a, input, select, summary, textarea, [tabindex]");
    if (event.key !== " " || busy || event.repeat) return;
    event.preventDefault();
    togglePlay();
  });
  clock.changed = showMoment;
  onChoice(() => { makeFaces(); redrawStack(); fillLines(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { fillLines(); showMoment(); });
  showClip(clips[0]);
  listenToStack();
  requestAnimationFrame(tick);
}

function showClip(clip) {
  player.clip = clip;
  byId("text").textContent = clip.text;
  byId("text").title = clip.clip;
  byId("seek").max = endOf(clip);
  stack.clip = clip;
  loadSound(clip);
  makeFaces();
  showStack(clip);
  fillLines();
  seekClock(0);
}

function togglePlay() {
  if (clock.playing) stopClock();
  else startClock();
}

function tick() {
  endSilence();
  if (clock.playing) showMoment();
  requestAnimationFrame(tick);
}

function showMoment() {
  if (!player.clip || !player.faces.length) return;
  const time = now();
  byId("seek").value = time;
  byId("seek").setAttribute("aria-valuetext", seconds(time));
  byId("time").textContent = `${seconds(time)} of ${seconds(endOf(player.clip))}`;
  byId("play").dataset.playing = clock.playing;
  byId("play").setAttribute("aria-label", clock.playing ? "Pause" : "Play");
  movePlayhead(time);
  for (const face of player.faces) paintFace(face, time);
}

function makeFaces() {
  const who = [{ who: "teacher", slot: "teacher", title: "teacher" }, ...chosenTiers().map(({ tier, slot }) => ({ who: tier, slot, title: tierName(tier) }))];
  player.faces = who.map(({ who, slot, title }) => ({ who, slot, title, canvas: element("canvas") }));
  byId("faces").replaceChildren(...player.faces.map(faceElement));
  const sizes = new ResizeObserver(() => showMoment());
  player.faces.forEach((face) => sizes.observe(face.canvas));
  player.sizes?.disconnect();
  player.sizes = sizes;
  showMoment();
}

function faceElement(face) {
  const { who, slot, title, canvas } = face;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Face of ${who === "teacher" ? "the teacher" : title}`);
  canvas.dataset.who = who;
  const name = element("div", { className: "who" }, element("span", { textContent: title }));
  const item = element("li", { className: report.rig.kind }, name, canvas);
  item.dataset.slot = slot;
  if (who === "teacher") {
    item.append(element("p", { className: "off", textContent: "What every tier imitates." }));
    return item;
  }
  const close = element("button", { type: "button", className: "quiet close", textContent: "×", title: `Stop comparing ${title}` });
  close.setAttribute("aria-label", `Stop comparing ${title}`);
  close.addEventListener("click", () => toggleTier(who));
  name.append(close);
  const worst = player.clip.tiers[who]?.worst;
  if (!worst) {
    item.append(element("p", { className: "off", textContent: "There are no curves of this tier in this clip." }));
    return item;
  }
  const words = `Farthest from the teacher at ${seconds(worst.time)}: ${Number(worst.error.toPrecision(2))} rig units off, most at ${labelOf(worst.control)}.`;
  const jump = element("button", { type: "button", className: "quiet jump", textContent: "See its worst moment" });
  jump.addEventListener("click", () => jumpTo(worst.time));
  item.append(element("p", { className: "off", textContent: words }), jump);
  return item;
}

function jumpTo(time) {
  if (byId("slow").checked) {
    const slow = [...document.getElementsByName("speed")].find((radio) => Number(radio.value) === SLOW);
    slow.checked = true;
    setRate(SLOW);
  }
  seekClock(time - BEFORE_WORST);
  startClock();
}

function paintFace({ who, slot, canvas }, time) {
  const wide = Math.round(canvas.clientWidth * devicePixelRatio);
  const high = Math.round(canvas.clientHeight * devicePixelRatio);
  if (!wide || !high) return;
  if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
  const ctx = canvas.getContext("2d");
  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.clearRect(0, 0, wide, high);
  ctx.scale(wide / 300, wide / 300);
  const curves = curvesOf(player.clip, who);
  if (!curves) return;
  const pose = poseAt(player.clip, curves, time);
  if (report.rig.kind === "arkit") drawFace(ctx, pose);
  else if (report.rig.kind === "aperture") drawLips(ctx, pose);
  else drawBars(ctx, pose, stack.panels.map((panel) => panel.control), slotColour(slot));
}

function fillLines() {
  const line = (colour, width, dash) => sample(colour, { shape: "line", as: { x1: 1, x2: 27, y1: 7, y2: 7, "stroke-width": width, "stroke-dasharray": dash.join(" ") } });
  byId("lines").replaceChildren(
    element("span", {}, line(slotColour("teacher"), 4, []), "teacher"),
    ...chosenTiers().map(({ tier, slot }) => element("span", {}, line(slotColour(slot), 2.5, SLOT_DASHES[slot]), tierName(tier))),
    ...(player.clip.sealed.length ? [element("span", {}, sample(ink("--sealed"), { shape: "rect", as: { x: 4, y: 0, width: 20, height: 14 } }), "p b m: lips should be shut")] : []),
    ...(chosenTiers().length ? [element("span", {}, sample(ink("--soft"), { shape: "polygon", as: { points: "8,2 20,2 14,12" } }), "worst moment")] : []),
  );
}
