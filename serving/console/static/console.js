// The console works without this file: it adds keys, and shows which fact grants which claim.
"use strict";

const SWITCH = "vitrine-keys-off";
const typing = (target) =>
  target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;

// Some people press keys without meaning to, or speak to their computer: shortcuts can be turned off.
function keysAreOn() {
  try {
    return localStorage.getItem(SWITCH) === null;
  } catch {
    return true; // no storage here: shortcuts cannot be turned off for good
  }
}

function showSwitch(button) {
  const on = keysAreOn();
  button.setAttribute("aria-pressed", String(on));
  button.textContent = `Keyboard shortcuts: ${on ? "on" : "off"}`;
}

function turnKeys(button) {
  try {
    if (keysAreOn()) localStorage.setItem(SWITCH, "1");
    else localStorage.removeItem(SWITCH);
  } catch {
    return;
  }
  showSwitch(button);
}

function moveInQueue(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (rows.length === 0) return false;
  const at = rows.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step;
  rows[Math.max(0, Math.min(rows.length - 1, next))].focus();
  return true;
}

function use(target) {
  if (target.tagName === "INPUT") {
    target.focus();
    target.select();
    return;
  }
  target.click();
  if (target.tagName === "SUMMARY" && target.parentElement.open) {
    target.parentElement.querySelector("form input:not([type=hidden]), form button").focus();
  }
}

function onKey(event) {
  if (event.key === "Escape") {
    closeQuestions();
    return;
  }
  if (event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || !keysAreOn()) return;
  const step = { j: 1, k: -1 }[event.key];
  if (step !== undefined && moveInQueue(step)) {
    event.preventDefault();
    return;
  }
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (target === null) return;
  event.preventDefault();
  use(target);
}

function closeQuestions() {
  for (const details of document.querySelectorAll("details.ask[open]")) {
    const held = details.contains(document.activeElement);
    details.open = false;
    if (held) details.querySelector("summary").focus();
  }
}

function pointOut(event) {
  const claim = event.target.closest("[data-fact]");
  const fact = claim === null ? null : claim.dataset.fact;
  for (const each of document.querySelectorAll("[data-fact]")) {
    each.classList.toggle("pointed-out", fact !== null && each.dataset.fact === fact);
  }
}

// A decision is sent once, however often its button is pressed.
function sendOnce(event) {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent === "yes") event.preventDefault();
  form.dataset.sent = "yes";
}

document.addEventListener("keydown", onKey);
document.addEventListener("submit", sendOnce);
document.addEventListener("mouseover", pointOut);
document.addEventListener("focusin", pointOut);
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent; // the page may come back as it was left
});
const keysSwitch = document.getElementById("keys-switch");
if (keysSwitch !== null) {
  keysSwitch.hidden = false;
  showSwitch(keysSwitch);
  keysSwitch.addEventListener("click", () => turnKeys(keysSwitch));
}
