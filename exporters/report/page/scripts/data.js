// What the page was given: figures of the report, and clips with their curves and sounds.

const byId = (id) => document.getElementById(id);
const report = JSON.parse(byId("data").textContent);
const clips = [...document.querySelectorAll("script.clip")].map((item) => JSON.parse(item.textContent));

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
}

// Curves of the teacher or of a tier in a clip: control -> Float32Array. Null for a tier without.
function curvesOf(clip, who) {
  const packed = who === "teacher" ? clip.teacher : clip.tiers[who]?.values;
  if (!packed) return null;
  clip.curves ??= {};
  if (!clip.curves[who]) {
    const codes = new DataView(bytesOf(packed).buffer);
    clip.curves[who] = new Map(
      clip.controls.map((control, row) => [
        control,
        Float32Array.from({ length: clip.frames }, (_, frame) =>
          codes.getInt16(2 * (row * clip.frames + frame), true) * clip.steps[row]),
      ]),
    );
  }
  return clip.curves[who];
}

const timeOf = (clip, frame) => clip.offset + frame / clip.rate;
const endOf = (clip) => timeOf(clip, clip.frames - 1);

// All controls at a moment, between two frames by their distance from it: control -> number.
function poseAt(clip, curves, time) {
  const place = Math.min(Math.max((time - clip.offset) * clip.rate, 0), clip.frames - 1);
  const frame = Math.min(Math.floor(place), clip.frames - 2);
  const share = place - frame;
  const pose = {};
  for (const [control, values] of curves) {
    pose[control] = values[frame] * (1 - share) + values[frame + 1] * share;
  }
  return pose;
}

// How far the lips are apart, in the rig's own sense.
function apertureOf(pose) {
  let sum = 0;
  for (const [control, weight] of Object.entries(report.rig.aperture)) sum += weight * (pose[control] ?? 0);
  return sum;
}

const knowsAperture = Object.keys(report.rig.aperture).length > 0;
const labelOf = (control) => report.rig.labels[control] ?? control;
const seconds = (time) => `${time.toFixed(2)}\u00a0s`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
