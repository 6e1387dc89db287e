// A face that speaks. Its lips touch exactly where the rig calls them closed: nothing in the shape
// of the mouth opens them but the rig's own aperture.

const INSIDE = "#35151a";
const UNITS_OPEN = 46; // of drawing for one of aperture above that of closed lips

// What the rig's controls make of the mouth, in units of drawing.
function mouthOf(pose) {
  const { closed, aperture } = report.rig;
  const apart = knowsAperture ? apertureOf(pose) : (pose.jawOpen ?? 0) - (pose.mouthClose ?? 0);
  const limit = Object.keys(aperture).length && closed !== null ? closed : 0.02;
  const pucker = amount(pose, "mouthPucker");
  const funnel = amount(pose, "mouthFunnel");
  const smile = both(pose, "mouthSmile");
  const spread = both(pose, "mouthStretch") + 0.5 * both(pose, "mouthDimple");
  const press = both(pose, "mouthPress");
  const upper = both(pose, "mouthUpperUp");
  const jaw = amount(pose, "jawOpen");
  const gap = apart < limit ? 0 : Math.min(1.4 + UNITS_OPEN * (apart - limit), 62);
  return {
    gap,
    upShare: 0.14 + 0.3 * Math.min(upper, 1),
    round: Math.min(1, 0.9 * pucker + 0.8 * funnel),
    half: 39 * Math.max(0.5, 1 + 0.26 * smile + 0.24 * spread - 0.44 * pucker - 0.26 * funnel - 0.06 * jaw),
    upperLip: Math.max(2, 10.5 * (1 + 0.3 * pucker + 0.35 * funnel - 0.75 * amount(pose, "mouthRollUpper") - 0.4 * press - 0.15 * smile)),
    lowerLip: Math.max(2.5, 14 * (1 + 0.3 * pucker + 0.35 * funnel - 0.75 * amount(pose, "mouthRollLower") - 0.35 * press + 0.15 * amount(pose, "mouthShrugLower"))),
    x: 150 + 9 * (amount(pose, "mouthLeft") - amount(pose, "mouthRight")),
    y: 229 + 7 * jaw - 3 * amount(pose, "mouthShrugLower") - 2 * amount(pose, "mouthShrugUpper"),
    left: corner(pose, "Left") + 0.26 * gap,
    right: corner(pose, "Right") + 0.26 * gap,
    press,
    smile,
    tongue: amount(pose, "tongueOut"),
  };
}

// How far a corner of the mouth is below its place.
const corner = (pose, side) =>
  8 * amount(pose, `mouthFrown${side}`) + 2 * amount(pose, `mouthStretch${side}`) - 11 * amount(pose, `mouthSmile${side}`);

function drawFace(ctx, pose) {
  const mouth = mouthOf(pose);
  const shift = 8 * (amount(pose, "jawLeft") - amount(pose, "jawRight"));
  drawHead(ctx, 38 * Math.min(amount(pose, "jawOpen"), 1), shift, amount(pose, "cheekPuff"));
  drawEyes(ctx, pose);
  drawNose(ctx, pose);
  drawFolds(ctx, mouth);
  drawMouth(ctx, mouth);
}

function drawFolds(ctx, mouth) {
  ctx.strokeStyle = CLAY.line;
  ctx.lineWidth = 1.5;
  ctx.globalAlpha = Math.min(0.1 + 0.6 * mouth.smile, 0.45);
  for (const out of [-1, 1]) {
    ctx.beginPath();
    ctx.moveTo(150 + out * 27, 200);
    ctx.quadraticCurveTo(150 + out * (45 + 8 * mouth.smile), 213, mouth.x + out * (mouth.half + 13), 230);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

// Adds a line from the right corner of the mouth over its middle to the left corner, or the same
// `back`. `bow` is how far its middle is below that of the seam. A round mouth leaves its corners
// upright and is a near ellipse, a spread one leaves them flat.
function lipLine(path, m, bow, back) {
  const spread = 1 - Math.max(m.round, m.gap / 70);
  const [out, rise, flat] = [0.28 * spread, 0.58 + 0.17 * spread, 0.55 - 0.1 * spread];
  const y = m.y + bow;
  const ends = [[m.x - m.half, m.y + m.right, 1], [m.x + m.half, m.y + m.left, -1]];
  const [[x0, y0, to0], [x1, y1, to1]] = back ? ends.reverse() : ends;
  if (!back) path.moveTo(x0, y0);
  path.bezierCurveTo(x0 + to0 * m.half * out, y0 + (y - y0) * rise, m.x - to0 * m.half * flat, y, m.x, y);
  path.bezierCurveTo(m.x - to1 * m.half * flat, y, x1 + to1 * m.half * out, y1 + (y - y1) * rise, x1, y1);
}

function drawMouth(ctx, m) {
  const up = m.gap * m.upShare;
  const down = m.gap - up;
  softFill(ctx, m.x, m.y + down + m.lowerLip + 7, 20, CLAY.dark, 0.34);
  if (m.gap > 0) drawInside(ctx, m, up, down);

  const lower = new Path2D();
  lipLine(lower, m, down, false);
  lipLine(lower, m, down + m.lowerLip, true);
  const wet = ctx.createLinearGradient(0, m.y + down, 0, m.y + down + m.lowerLip);
  wet.addColorStop(0, "#b0655d");
  wet.addColorStop(0.5, "#c98278");
  wet.addColorStop(1, "#ad6a60");
  ctx.fillStyle = wet;
  ctx.fill(lower);

  const upper = new Path2D();
  lipLine(upper, m, -up, false);
  const [xl, yl, xr, yr] = [m.x + m.half, m.y + m.left, m.x - m.half, m.y + m.right];
  const top = m.y - up - m.upperLip;
  const peak = 7 + 0.12 * m.half - 3 * m.round;
  upper.bezierCurveTo(xl - m.half * 0.3, yl + (top - yl) * 0.55, m.x + peak + m.half * 0.2, top - 0.5, m.x + peak, top);
  upper.quadraticCurveTo(m.x, top + 4.5 - 2 * m.round, m.x - peak, top);
  upper.bezierCurveTo(m.x - peak - m.half * 0.2, top - 0.5, xr + m.half * 0.3, yr + (top - yr) * 0.55, xr, yr);
  const dry = ctx.createLinearGradient(0, top, 0, m.y - up);
  dry.addColorStop(0, "#b97268");
  dry.addColorStop(1, "#97514b");
  ctx.fillStyle = dry;
  ctx.fill(upper);

  if (m.gap === 0) {
    const seam = new Path2D();
    lipLine(seam, m, 0, false);
    ctx.strokeStyle = "#6f3531";
    ctx.lineWidth = 1.8 + 1.2 * m.press;
    ctx.lineCap = "round";
    ctx.stroke(seam);
  }
}

function drawInside(ctx, m, up, down) {
  const inside = new Path2D();
  lipLine(inside, m, -up, false);
  lipLine(inside, m, down, true);
  ctx.save();
  ctx.fillStyle = INSIDE;
  ctx.fill(inside);
  ctx.clip(inside);
  if (m.gap > 9) {
    ctx.fillStyle = "#a44f56";
    ctx.beginPath();
    ctx.ellipse(m.x, m.y + down + 5 - 8 * m.tongue, m.half * 0.6, Math.min(0.42 * m.gap, 14) + 10 * m.tongue, 0, 0, 7);
    ctx.fill();
  }
  const teeth = Math.min(1.5 + 0.24 * m.gap, 9) * (1 - 0.6 * m.round);
  if (m.gap > 4) {
    ctx.fillStyle = "#f4eee6";
    rounded(ctx, m.x - 0.66 * m.half, m.y - up - 6, 1.32 * m.half, 6 + teeth, 3.5);
  }
  if (m.gap > 16) {
    ctx.fillStyle = "#ddd3c9";
    rounded(ctx, m.x - 0.5 * m.half, m.y + down - Math.min(0.12 * (m.gap - 12), 4), m.half, 12, 3.5);
  }
  ctx.restore();
}

function rounded(ctx, x, y, width, height, radius) {
  ctx.beginPath();
  ctx.roundRect(x, y, width, height, radius);
  ctx.fill();
}
