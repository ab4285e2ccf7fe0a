/* Two mends for every page. */
(function () {
  "use strict";
  /* 1. Paper cannot be unfolded: what is folded is opened for printing, and folded again. */
  var opened = [];
  function unfold() {
    document.querySelectorAll("details:not([open])").forEach(function (part) {
      part.open = true;
      opened.push(part);
    });
  }
  function fold() { opened.splice(0).forEach(function (part) { part.open = false; }); }
  window.addEventListener("beforeprint", unfold);
  window.addEventListener("afterprint", fold);
  window.matchMedia("print").addEventListener("change", function (event) { if (event.matches) unfold(); else fold(); });

  /* 2. A page opened as a file may fetch nothing, so the search must not ask for its excerpts. */
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
})();
