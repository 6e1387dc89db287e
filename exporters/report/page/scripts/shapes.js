// The parts of a drawn head that speech hardly moves, in a space of 300 by 324 units, seen from the
// front: what the rig calls left is on the right.

const CLAY = { light: "#ece3da", skin: "#d9cdc2", shade: "#b3a599", dark: "#8c7d71", line: "#6f6157", brow: "#6a5b50", neck: "#b9aa9d" };

const amount = (pose, name) => Math.min(Math.max(pose[name] ?? 0, 0), 1.2);
const both = (pose, stem) => (amount(pose, `${stem}Left`) + amount(pose, `${stem}Right`)) / 2;

function softFill(ctx, x, y, radius, colour, alpha) {
  const fade = ctx.createRadialGradient(x, y, 0, x, y, radius);
  fade.addColorStop(0, colour);
  fade.addColorStop(1, `${colour}00`);
  ctx.save();
  ctx.globalAlpha *= alpha;
  ctx.fillStyle = fade;
  ctx.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
  ctx.restore();
}

// `drop` is how far the chin has gone down, `shift` how far to the side, `puff` how full the cheeks are.
function headPath(drop, shift, puff) {
  const chin = 282 + drop;
  const wide = 5 * puff;
  const path = new Path2D();
  path.moveTo(150, 12);
  path.bezierCurveTo(206, 12, 249, 52, 250, 118);
  path.bezierCurveTo(251 + wide, 160, 246 + wide, 200, 232 + wide + shift / 2, 224 + drop * 0.45);
  path.bezierCurveTo(217 + shift, 252 + drop * 0.8, 186 + shift, chin, 150 + shift, chin);
  path.bezierCurveTo(114 + shift, chin, 83 + shift, 252 + drop * 0.8, 68 - wide + shift / 2, 224 + drop * 0.45);
  path.bezierCurveTo(54 - wide, 200, 49 - wide, 160, 50, 118);
  path.bezierCurveTo(51, 52, 94, 12, 150, 12);
  path.closePath();
  return path;
}

function drawHead(ctx, drop, shift, puff) {
  const fading = ctx.createLinearGradient(0, 290, 0, 324);
  fading.addColorStop(0, CLAY.neck);
  fading.addColorStop(1, `${CLAY.neck}00`);
  ctx.fillStyle = fading;
  ctx.beginPath();
  ctx.moveTo(102, 226);
  ctx.bezierCurveTo(104, 276, 96, 300, 66, 324);
  ctx.lineTo(234, 324);
  ctx.bezierCurveTo(204, 300, 196, 276, 198, 226);
  ctx.fill();
  for (const x of [49, 251]) {
    ctx.fillStyle = CLAY.shade;
    ctx.beginPath();
    ctx.ellipse(x, 150, 11, 23, x < 150 ? -0.12 : 0.12, 0, 7);
    ctx.fill();
  }
  // A shadow under the chin sets the jaw off the neck.
  softFill(ctx, 150 + shift, 268 + drop, 56, CLAY.dark, 0.8);
  const path = headPath(drop, shift, puff);
  ctx.save();
  ctx.clip(path);
  const volume = ctx.createRadialGradient(128, 92, 20, 150, 150, 172);
  volume.addColorStop(0, CLAY.light);
  volume.addColorStop(0.55, CLAY.skin);
  volume.addColorStop(1, CLAY.shade);
  ctx.fillStyle = volume;
  ctx.fillRect(0, 0, 300, 324);
  softFill(ctx, 150 + shift, 262 + drop, 24, CLAY.light, 0.6);
  softFill(ctx, 92, 182, 34, CLAY.light, 0.5);
  softFill(ctx, 208, 182, 30, CLAY.light, 0.4);
  ctx.restore();
}

function drawEyes(ctx, pose) {
  for (const [side, x] of [["Right", 104], ["Left", 196]]) {
    const open = Math.max(0, 1 - amount(pose, `eyeBlink${side}`) + 0.25 * amount(pose, `eyeWide${side}`) - 0.3 * amount(pose, `eyeSquint${side}`));
    const lift = 3 * amount(pose, `cheekSquint${side}`);
    const eye = new Path2D();
    eye.moveTo(x - 23, 140);
    eye.quadraticCurveTo(x, 140 - 19 * open, x + 23, 140);
    eye.quadraticCurveTo(x, 140 + Math.max(11 * open - lift, 0), x - 23, 140);
    softFill(ctx, x, 130, 36, CLAY.dark, 0.34);
    ctx.save();
    ctx.clip(eye);
    ctx.fillStyle = "#f4f0ea";
    ctx.fillRect(x - 25, 115, 50, 50);
    ctx.fillStyle = "#6b7f8d";
    circle(ctx, x, 137.5, 9.5);
    ctx.fillStyle = "#1e2329";
    circle(ctx, x, 137.5, 4.4);
    ctx.fillStyle = "#ffffff";
    circle(ctx, x - 3, 134.5, 2);
    ctx.restore();
    ctx.strokeStyle = CLAY.brow;
    ctx.lineWidth = 2.2;
    ctx.lineCap = "round";
    ctx.beginPath();
    ctx.moveTo(x - 23, 140);
    ctx.quadraticCurveTo(x, 140 - 19 * open, x + 23, 140);
    ctx.stroke();
    drawBrow(ctx, pose, side, x);
  }
}

function drawBrow(ctx, pose, side, x) {
  const out = side === "Left" ? 1 : -1;
  const inner = 112 - 9 * amount(pose, "browInnerUp") + 7 * amount(pose, `browDown${side}`);
  const outer = 112 - 9 * amount(pose, `browOuterUp${side}`) + 5 * amount(pose, `browDown${side}`);
  ctx.fillStyle = CLAY.brow;
  ctx.beginPath();
  ctx.moveTo(x - out * 24, inner + 3);
  ctx.quadraticCurveTo(x + out * 4, (inner + outer) / 2 - 14, x + out * 29, outer + 4);
  ctx.quadraticCurveTo(x + out * 4, (inner + outer) / 2 - 6, x - out * 24, inner + 3);
  ctx.fill();
}

function drawNose(ctx, pose) {
  softFill(ctx, 150, 176, 26, CLAY.light, 0.75);
  softFill(ctx, 150, 205, 20, CLAY.dark, 0.4);
  ctx.strokeStyle = CLAY.line;
  ctx.lineWidth = 1.6;
  ctx.lineCap = "round";
  for (const [side, out] of [["Right", -1], ["Left", 1]]) {
    const up = 4 * amount(pose, `noseSneer${side}`);
    ctx.globalAlpha = 0.55;
    ctx.beginPath();
    ctx.moveTo(150 + out * 15, 184 - up);
    ctx.quadraticCurveTo(150 + out * 23, 194 - up, 150 + out * 14, 199 - up);
    ctx.stroke();
    ctx.globalAlpha = 0.75;
    ctx.fillStyle = CLAY.line;
    ctx.beginPath();
    ctx.ellipse(150 + out * 8, 199 - up, 4.4, 2.1, out * 0.25, 0, 7);
    ctx.fill();
    ctx.globalAlpha = 1;
  }
}

function circle(ctx, x, y, radius) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 7);
  ctx.fill();
}
