// What the theme leaves out for readers without a mouse or a screen; tests/test_accessibility.py looks for more.
"use strict";

const name = (selector, label) => document.querySelector(selector)?.setAttribute("aria-label", label);

/** What scrolls sideways can be reached by Tab, so that the arrow keys scroll it. */
function reachWhatScrolls() {
  for (const part of document.querySelectorAll("article pre, article p, .cell_output, .table-wrapper")) {
    const scrolls = part.scrollWidth > part.clientWidth && getComputedStyle(part).overflowX !== "visible";
    if (scrolls) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

/** Names of tests and paths, which may be longer than a line, break where their parts end. */
function breakLongWords() {
  for (const word of document.querySelectorAll("code.literal .pre")) {
    if (word.textContent.length <= 36) continue;
    word.classList.add("long");
    const parts = word.textContent.split(/(?<=\/|::|_)/);
    word.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
  }
}

document.addEventListener("DOMContentLoaded", () => {
  breakLongWords();
  for (const caption of document.querySelectorAll('[role="heading"]:not([aria-level])')) {
    caption.setAttribute("aria-level", "2");
  }
  name("aside.sidebar-drawer", "All pages");
  name("aside.toc-drawer", "On this page");
  reachWhatScrolls();
});
window.addEventListener("load", reachWhatScrolls); // pictures have their size
window.addEventListener("resize", reachWhatScrolls);
document.addEventListener("toggle", reachWhatScrolls, true);
