// What the theme leaves out for readers without a mouse or a screen; tests/test_accessibility.py looks for more.
"use strict";

const name = (selector, label) => document.querySelector(selector)?.setAttribute("aria-label", label);

/** What scrolls sideways can be reached by Tab, so that the arrow keys scroll it. */
function reachWhatScrolls() {
  for (const part of document.querySelectorAll("article pre, article p, .table-wrapper")) {
    const scrolls = part.scrollWidth > part.clientWidth && getComputedStyle(part).overflowX !== "visible";
    if (scrolls) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

document.addEventListener("DOMContentLoaded", () => {
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
