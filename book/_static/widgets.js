/* Two mends for Jupyter's widgets in a built page. */
(function () {
  /* The widget manager typesets labels through MathJax 2 (`MathJax.Hub.Queue`), which MathJax 3 has not, so that each label
     would raise an error. The project's widgets hold no formulas: there is nothing to typeset. */
  var hub = { Queue: function () {} };
  var mathjax = (window.MathJax = window.MathJax || {});
  mathjax.Hub = hub;
  var startup = (mathjax.startup = mathjax.startup || {});
  var ready = startup.ready;
  startup.ready = function () {
    (ready || window.MathJax.startup.defaultReady)();
    window.MathJax.Hub = hub;
  };

  /* A slider's handle has no name, and says the number of its option instead of the option: give it the label and the value. */
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
