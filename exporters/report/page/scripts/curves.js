// Curves under the faces: panels that share their time, each of one control or of the lips' distance.

const APERTURE = "(aperture)";
const AXIS_WIDTH = 44;
const EDGE = 10;
const MOST_PANELS = 5;
const stack = { clip: null, panels: [] };

// Shaded where the lips should be shut, and a dashed line where a tier is worst.
const moments = {
  id: "moments",
  beforeDatasetsDraw(chart) {
    const { ctx, chartArea, scales } = chart;
    ctx.save();
    ctx.fillStyle = ink("--sealed");
    for (const [, start, end] of stack.clip.sealed) {
      const x = scales.x.getPixelForValue(start);
      ctx.fillRect(x, chartArea.top, scales.x.getPixelForValue(end) - x, chartArea.bottom - chartArea.top);
    }
    for (const { tier, slot } of chosenTiers()) {
      const worst = stack.clip.tiers[tier]?.worst;
      if (!worst) continue;
      const x = scales.x.getPixelForValue(worst.time);
      ctx.strokeStyle = ctx.fillStyle = slotColour(slot);
      ctx.setLineDash([2, 3]);
      ctx.beginPath();
      ctx.moveTo(x, chartArea.top);
      ctx.lineTo(x, chartArea.bottom);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - 6, chartArea.top - 2);
      ctx.lineTo(x + 6, chartArea.top - 2);
      ctx.lineTo(x, chartArea.top + 7);
      ctx.fill();
    }
    ctx.restore();
  },
};

function showStack(clip) {
  const kept = stack.panels.map((panel) => panel.control);
  stack.panels.forEach((panel) => dropChart(panel.drawn));
  stack.clip = clip;
  const fresh = [...(knowsAperture ? [APERTURE] : []), ...clip.shown];
  if (!fresh.length) fresh.push(...clip.controls.slice(0, 3));
  const controls = kept.length && kept.every((name) => name === APERTURE || clip.controls.includes(name)) ? kept : fresh.slice(0, MOST_PANELS);
  stack.panels = controls.map((control) => ({ control }));
  byId("panels").replaceChildren(...stack.panels.map((panel, row) => panelElement(panel, row)));
  stack.panels.forEach((panel, row) => {
    panel.drawn = drawChart(panel.canvas, () => panelSettings(panel, row === stack.panels.length - 1));
  });
  namePhones();
}

function panelElement(panel, row) {
  const options = stack.clip.controls.map((control) => new Option(labelOf(control), control, false, control === panel.control));
  if (knowsAperture) options.unshift(new Option("how far the lips are apart", APERTURE, false, panel.control === APERTURE));
  const select = element("select", {}, ...options);
  select.setAttribute("aria-label", `Curve ${row + 1}`);
  select.addEventListener("change", () => {
    panel.control = select.value;
    redraw(panel.drawn);
  });
  panel.canvas = element("canvas");
  panel.canvas.setAttribute("role", "img");
  panel.canvas.setAttribute("aria-label", `Curve ${row + 1} over time, teacher and chosen tiers`);
  return element("div", { className: "panel" }, select, element("div", { className: "plot" }, panel.canvas));
}

function series(who, control) {
  const clip = stack.clip;
  const curves = curvesOf(clip, who);
  if (!curves) return [];
  const value = control === APERTURE
    ? (frame) => Object.entries(report.rig.aperture).reduce((sum, [name, weight]) => sum + weight * curves.get(name)[frame], 0)
    : (frame) => curves.get(control)[frame];
  return Array.from({ length: clip.frames }, (_, frame) => ({ x: timeOf(clip, frame), y: value(frame) }));
}

function panelSettings(panel, last) {
  const line = (label, who, slot, more) => ({
    label,
    data: series(who, panel.control),
    borderColor: slotColour(slot),
    pointRadius: 0,
    borderJoinStyle: "round",
    ...more,
  });
  const datasets = [
    ...chosenTiers().map(({ tier, slot }) => line(tierName(tier), tier, slot, { borderWidth: 2, borderDash: SLOT_DASHES[slot] })),
    line("teacher", "teacher", "teacher", { borderWidth: 4, borderCapStyle: "round" }),
  ];
  if (panel.control === APERTURE && report.rig.closed !== null) {
    const ends = [0, endOf(stack.clip)].map((x) => ({ x, y: report.rig.closed }));
    datasets.push({ label: "closed below", data: ends, borderColor: ink("--soft"), borderWidth: 1, borderDash: [2, 2], pointRadius: 0 });
  }
  const ys = datasets.flatMap((set) => set.data.map((point) => point.y));
  const [least, most] = [Math.min(0, ...ys), Math.max(0, ...ys)];
  const margin = 0.06 * (most - least) || 0.1;
  return {
    type: "line",
    plugins: [moments],
    data: { datasets },
    options: {
      parsing: false,
      normalized: true,
      events: [],
      layout: { padding: { right: EDGE, top: 8 } },
      scales: {
        x: {
          type: "linear",
          min: 0,
          max: endOf(stack.clip),
          ticks: { display: last, callback: (value) => `${Number(value.toFixed(2))} s`, maxRotation: 0, autoSkipPadding: 24, align: "inner" },
          grid: { drawTicks: last },
        },
        y: {
          min: least - margin,
          max: most + margin,
          ticks: { maxTicksLimit: 4, includeBounds: false },
          afterFit: (axis) => { axis.width = AXIS_WIDTH; },
        },
      },
      plugins: { tooltip: { enabled: false } },
    },
  };
}

function redrawStack() {
  stack.panels.forEach((panel) => redraw(panel.drawn));
}

// Phones in a row over the panels, each as wide as it lasts; a name only where it has room.
function namePhones() {
  const row = byId("phones");
  const clip = stack.clip;
  const all = clip.phones.length ? clip.phones : clip.sealed;
  const width = row.clientWidth - AXIS_WIDTH - EDGE;
  const place = (time) => AXIS_WIDTH + (Math.min(Math.max(time, 0), endOf(clip)) / endOf(clip)) * width;
  row.hidden = !all.length;
  row.replaceChildren(...all.map(([label, start, end]) => {
    const wide = place(end) - place(start);
    const shut = clip.sealed.some(([, from, to]) => start < to - 1e-3 && end > from + 1e-3);
    const named = wide > 7 * label.length + 3 && label !== "SIL" ? label : "";
    const span = element("span", { className: shut ? "sealed" : "", textContent: named });
    span.style.left = `${place(start)}px`;
    span.style.width = `${wide}px`;
    return span;
  }));
}

function movePlayhead(time) {
  const width = byId("stack").clientWidth - AXIS_WIDTH - EDGE;
  byId("playhead").style.transform = `translateX(${AXIS_WIDTH + (time / endOf(stack.clip)) * width}px)`;
}

function timeAt(event) {
  const box = byId("stack").getBoundingClientRect();
  return ((event.clientX - box.left - AXIS_WIDTH) / (box.width - AXIS_WIDTH - EDGE)) * endOf(stack.clip);
}

function listenToStack() {
  let held = false;
  const area = byId("stack");
  area.addEventListener("pointerdown", (event) => {
    if (event.target.closest("select")) return;
    held = true;
    seekClock(timeAt(event));
  });
  addEventListener("pointermove", (event) => held && seekClock(timeAt(event)));
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { held = false; });
  new ResizeObserver(() => { namePhones(); clock.changed(); }).observe(area);
}
