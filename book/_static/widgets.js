/* Three mends for Jupyter's widgets in a built page. */
(function () {
  /* 1. The widget manager typesets labels through MathJax 2 (`MathJax.Hub.Queue`), which MathJax 3 has not, so that each
     label would raise an error. The book's widgets hold no formulas: whatever becomes `window.MathJax` gets a queue that
     does nothing. */
  var hub = { Queue: function () {} };
  var current;
  function take(value) {
    current = value;
    if (value && typeof value === "object" && !value.Hub) value.Hub = hub;
  }
  take(window.MathJax || {});
  Object.defineProperty(window, "MathJax", {
    configurable: true,
    enumerable: true,
    get: function () { return current; },
    set: take,
  });

  /* 2. Its style sheet brings icon fonts under addresses that do not exist here; the theme has the same icons. */
  new MutationObserver(function () {
    document.querySelectorAll("head style").forEach(function (style) {
      if (style.textContent.indexOf("@jupyter-widgets") > 0 && style.textContent.indexOf("@font-face") >= 0) {
        style.textContent = style.textContent.replace(/@font-face\s*\{[^}]*\}/g, "");
      }
    });
  }).observe(document.head, { childList: true, subtree: true });

  /* 3. A slider's handle has no name, and says the number of its option instead of the option: give it the label and the
     value. */
  function name(slider) {
    var label = slider.querySelector(".widget-label");
    var handle = slider.querySelector(".noUi-handle");
    var value = slider.querySelector(".widget-readout");
    if (label && handle) handle.setAttribute("aria-label", label.textContent);
    if (value && handle) handle.setAttribute("aria-valuetext", value.textContent);
  }
  function mend() {
    document.querySelectorAll(".ternary-explorer .widget-hslider").forEach(name);
  }
  document.addEventListener("DOMContentLoaded", function () {
    new MutationObserver(mend).observe(document.body, { childList: true, characterData: true, subtree: true });
    mend();
  });
})();
