// What time it is in the clip: that of its sound, or of a silent clock where no sound can be played.

const clock = {
  audio: byId("audio"),
  silent: true,
  playing: false,
  loop: false,
  rate: 1,
  duration: 0,
  from: 0, // of the silent clock: where it was
  began: 0, // and when that was, in milliseconds
  address: null,
  changed: () => {},
};

clock.audio.addEventListener("ended", () => stopClock());
clock.audio.addEventListener("error", () => {
  if (!clock.address) return;
  clock.silent = true;
  byId("sound").textContent = "This browser cannot play the sound; the faces move without it.";
  clock.changed();
});

function loadSound(clip) {
  stopClock();
  if (clock.address) URL.revokeObjectURL(clock.address);
  clock.address = null;
  clock.duration = endOf(clip);
  clock.from = 0;
  clock.silent = clip.audio === null;
  byId("sound").textContent = clock.silent ? "This clip has no sound here; the faces move without it." : "";
  if (clock.silent) {
    clock.audio.removeAttribute("src");
    return;
  }
  clock.address = URL.createObjectURL(new Blob([bytesOf(clip.audio)], { type: "audio/flac" }));
  clock.audio.src = clock.address;
  clock.audio.playbackRate = clock.rate;
  clock.audio.loop = clock.loop;
}

function now() {
  if (!clock.silent) return Math.min(clock.audio.currentTime, clock.duration);
  const passed = clock.playing ? ((performance.now() - clock.began) / 1000) * clock.rate : 0;
  return Math.min(clock.from + passed, clock.duration);
}

function seekClock(time) {
  clock.from = Math.min(Math.max(time, 0), clock.duration);
  clock.began = performance.now();
  if (!clock.silent) clock.audio.currentTime = clock.from;
  clock.changed();
}

function startClock() {
  if (now() >= clock.duration - 0.01) seekClock(0);
  clock.playing = true;
  clock.began = performance.now();
  if (!clock.silent) clock.audio.play().catch(() => stopClock());
  clock.changed();
}

function stopClock() {
  clock.from = now();
  clock.playing = false;
  clock.audio.pause();
  clock.changed();
}

// A sound ends by itself; the silent clock is asked each time that it is looked at.
function endSilence() {
  if (!clock.silent || !clock.playing || now() < clock.duration) return;
  if (clock.loop) seekClock(0);
  else stopClock();
}

function setRate(rate) {
  clock.from = now();
  clock.began = performance.now();
  clock.rate = rate;
  clock.audio.defaultPlaybackRate = clock.audio.playbackRate = rate;
}

function setLoop(loop) {
  clock.loop = clock.audio.loop = loop;
}
