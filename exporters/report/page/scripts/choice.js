// Which tiers are compared: up to three, each in a slot that gives it its colour, dash and shape.

const SLOTS = 3;
const choice = {
  slots: Array.from({ length: SLOTS }, (_, slot) => report.chosen[slot] ?? null),
  order: [...report.chosen],
  watchers: [],
};

const slotOf = (tier) => choice.slots.indexOf(tier);
const chosenTiers = () => choice.slots.flatMap((tier, slot) => (tier === null ? [] : [{ tier, slot }]));

function onChoice(watcher) {
  choice.watchers.push(watcher);
}

function toggleTier(tier) {
  const title = report.tiers[tier].title;
  let said;
  if (slotOf(tier) >= 0) {
    choice.slots[slotOf(tier)] = null;
    choice.order = choice.order.filter((other) => other !== tier);
    said = `${title} is no longer compared.`;
  } else {
    let slot = choice.slots.indexOf(null);
    said = `${title} is compared with the teacher.`;
    if (slot < 0) {
      const oldest = choice.order.shift();
      slot = slotOf(oldest);
      said = `${title} takes the place of ${report.tiers[oldest].title}: up to three are compared at once.`;
    }
    choice.slots[slot] = tier;
    choice.order.push(tier);
  }
  byId("said").textContent = said;
  announceChoice();
}

// Everything that stands for a tier, wherever it is on the page, says whether it is chosen.
function markTiers() {
  for (const item of document.querySelectorAll("[data-tier]")) {
    const slot = slotOf(Number(item.dataset.tier));
    item.setAttribute("aria-pressed", String(slot >= 0));
    if (slot >= 0) item.dataset.slot = slot;
    else delete item.dataset.slot;
  }
}

function announceChoice() {
  markTiers();
  for (const watcher of choice.watchers) watcher();
}
