// What is drawn of a rig whose controls have no known names: the lips alone, or bars.

// A mouth on a plain head that opens as the rig's aperture says; the rest of the face is unknown.
function drawLips(ctx, pose) {
  const { closed, widest } = report.rig;
  const limit = closed ?? 0;
  const apart = apertureOf(pose);
  const gap = apart < limit ? 0 : Math.min(1.4 + (40 * (apart - limit)) / Math.max(widest - limit, 1e-9), 62);
  const share = gap / 40;
  drawHead(ctx, 26 * Math.min(share, 1), 0, 0);
  drawEyes(ctx, {});
  drawNose(ctx, {});
  const mouth = mouthOf({});
  drawMouth(ctx, { ...mouth, gap, y: 229 + 5 * Math.min(share, 1), half: 39 - 4 * Math.min(share, 1) });
}

// The shown controls as bars from zero, in their own ranges.
function drawBars(ctx, pose, shown, colour) {
  const step = Math.min(240 / Math.max(shown.length, 1), 54);
  ctx.textBaseline = "bottom";
  ctx.font = `13px ${Chart.defaults.font.family}`;
  shown.forEach((control, row) => {
    const [least, most] = report.rig.ranges[control] ?? [0, 1];
    const span = Math.max(most - least, 1e-9);
    const place = (value) => 10 + (280 * (Math.min(Math.max(value, least), most) - least)) / span;
    const y = 16 + row * step;
    ctx.fillStyle = ink("--soft");
    ctx.fillText(labelOf(control), 10, y + 8, 280);
    ctx.fillStyle = ink("--wash");
    ctx.fillRect(10, y + 10, 280, step * 0.3);
    ctx.fillStyle = colour;
    const [zero, end] = [place(0), place(pose[control] ?? 0)];
    ctx.fillRect(Math.min(zero, end), y + 10, Math.max(Math.abs(end - zero), 1.5), step * 0.3);
  });
}

const CAPTIONS = {
  arkit: knowsAperture
    ? "Drawn from the rig's own curves. The lips touch exactly when the rig's rule says that they are closed."
    : "Drawn from the rig's own curves. When its lips are closed is not known: they part with the jaw, less what closes the mouth.",
  aperture: "A plain face: of this rig only the distance of the lips is known, and the rest keeps still. The widest is the teacher's widest in these clips.",
  bars: "Of this rig it is not known what moves what, so its controls are shown as bars in place of a face.",
};
