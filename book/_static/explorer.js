/* The schedule explorer of a built page. The drawing, the checks and the file are made by the library's own Python
   (ternary_lib/explorer.py), which Pyodide runs in the page; this script only carries what the controls say to it and
   what it answers to the page. */
(function () {
  "use strict";
  var PYODIDE = document.currentScript.src.replace(/explorer\.js.*$/, "vendor/pyodide/");
  var BINARIES = ["pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"]; /* what Pyodide fetches; ternary_lib/vendor.py lists the same */
  var PATIENCE = 60; /* seconds after which a start that goes on is said to be slow */
  var root = document.getElementById("schedule-explorer");
  var data = JSON.parse(document.getElementById("schedule-explorer-data").textContent);
  var values = {}; /* what was moved: the rest keeps the preset's last digits */
  var note = ""; /* what became of a number that was typed outside its range */
  var view = null;
  var waiting = false;

  function part(name) { return document.getElementById("explorer-" + name); }
  function preset() { return data.presets[Number(part("preset").value)]; }
  function inputs(key) { return Array.from(root.querySelectorAll(key ? "input[data-key='" + key + "']" : "input[data-key]")); }
  function standing(key) { return key in values ? values[key] : preset().values[key]; }
  function say(words, state) {
    root.querySelector(".status").textContent = words;
    root.dataset.state = state;
  }
  function write(input, value) { input.value = input.type === "number" ? Number(value.toPrecision(6)) : value; }

  function stretch() { /* the phases reach the run's last epoch */
    inputs().forEach(function (input) {
      var key = input.dataset.key;
      if (key.indexOf("phases.") === 0) input.max = Math.max(standing("total_epochs"), standing(key), preset().values[key]);
    });
  }

  function restore() {
    var start = preset(), last = start.schedules.total_epochs - 1;
    values = {};
    note = "";
    stretch();
    inputs().forEach(function (input) {
      var value = start.values[input.dataset.key];
      input.min = Math.min(Number(input.min), value);
      input.max = Math.max(Number(input.max), value);
      write(input, value);
    });
    part("policy").value = start.schedules.rho.gate;
    part("gate").value = "always open";
    part("gate").querySelector("[value='as measured']").disabled = !start.run.grad_ratio;
    part("run").checked = false;
    part("run").disabled = !start.run.rho;
    part("run-words").textContent = start.run.rho ? "" : "No run of this preset is recorded here.";
    part("from").value = Math.min(start.schedules.phases[1], last);
    part("to").value = Math.min(start.schedules.phases[2], last);
    draw();
  }

  function number(input) { return input.value === "" ? null : Number(input.value); }

  function draw() {
    if (waiting || !view) return;
    waiting = true;
    requestAnimationFrame(function () {
      waiting = false;
      var start = preset();
      part("closed").hidden = part("gate").value !== "closed for a while";
      part("copied").textContent = "";
      show(JSON.parse(view(JSON.stringify({
        path: start.path, schedules: start.schedules, ghost: data.production, run: start.run, values: values,
        policy: part("policy").value, gate: part("gate").value, show_run: part("run").checked,
        closed: [number(part("from")), number(part("to"))], own_name: part("name").value.trim()
      }))));
    });
  }

  function show(answer) {
    var file = part("name").value.trim() + ".yaml";
    part("fault").textContent = answer.fault || "";
    part("download").disabled = part("copy").disabled = Boolean(answer.fault);
    part("yaml").textContent = answer.fault ? "" : answer.yaml;
    part("commands").textContent = answer.fault ? "" : "ternary train --config " + file + "\npapermill notebooks/03_training.ipynb mine.ipynb -p config " + file;
    if (answer.fault) return say("The drawing waits: what is asked for cannot be.", "fault");
    root.querySelectorAll(".panel").forEach(function (panel, i) { panel.innerHTML = answer.panels[i]; });
    say(note || "Drawn by the library's own Python, in this page.", "ready");
  }

  function move(event) {
    var input = event.target, key = input.dataset.key;
    note = "";
    if (!key) return draw();
    var typed = number(input);
    if (typed === null || !isFinite(typed)) return;
    var whole = "whole" in input.dataset;
    var value = Math.min(Number(input.max), Math.max(Number(input.min), whole ? Math.round(typed) : typed));
    if (value !== typed) {
      var name = input.getAttribute("aria-label").replace(", as a number", "");
      note = name + " goes from " + Number(input.min) + " to " + Number(input.max) + (whole ? " in whole epochs" : "") + ": " + value + " is used, not " + typed + ".";
    }
    values[key] = value;
    inputs(key).forEach(function (twin) { if (twin !== input) write(twin, value); });
    if (key === "total_epochs") stretch();
    draw();
  }

  function settle(event) { /* a field that was left shows the number in use */
    if (event.target.dataset.key) write(event.target, standing(event.target.dataset.key));
  }

  function download() {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([part("yaml").textContent], { type: "application/yaml" }));
    link.download = part("name").value.trim() + ".yaml";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function copied() { part("copied").textContent = "Copied."; }
  function copyByHand() { /* a page over plain http from another host has no clipboard */
    getSelection().selectAllChildren(part("yaml"));
    if (document.execCommand("copy")) return copied();
    part("copied").textContent = "This browser does not let the page copy. The file is selected: press Ctrl+C or ⌘C.";
  }
  function copy() {
    if (!navigator.clipboard) return copyByHand();
    navigator.clipboard.writeText(part("yaml").textContent).then(copied, copyByHand);
  }

  function start(python) {
    Object.keys(data.sources).forEach(function (path) {
      var folder = path.replace(/\/[^/]*$/, "");
      python.FS.mkdirTree("/explorer/" + folder);
      python.FS.writeFile("/explorer/" + path, data.sources[path]);
    });
    python.runPython("import sys; sys.path.insert(0, '/explorer')\nfrom ternary_lib.explorer import view");
    view = python.globals.get("view");
    root.querySelector("fieldset").disabled = false;
    root.addEventListener("input", function (event) {
      if (event.target.id === "explorer-preset") restore(); else move(event);
    });
    root.addEventListener("change", settle);
    part("reset").addEventListener("click", restore);
    part("download").addEventListener("click", download);
    part("copy").addEventListener("click", copy);
    restore();
  }

  /* --- Python: its files are fetched or, from a page opened as a file, which may fetch nothing, come in scripts --- */
  function load(name) {
    return new Promise(function (resolve, reject) {
      var script = document.createElement("script");
      script.src = PYODIDE + name;
      script.onload = resolve;
      script.onerror = function () { reject(new Error(name + " could not be read")); };
      document.head.appendChild(script);
    });
  }
  function decoded(text) {
    var raw = atob(text), bytes = new Uint8Array(raw.length);
    for (var i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }
  function read(name) {
    if (location.protocol === "file:") {
      return load(name + ".js").then(function () {
        var bytes = decoded(window.ternaryEmbedded[name]);
        delete window.ternaryEmbedded[name];
        return bytes;
      });
    }
    return fetch(PYODIDE + name).then(function (answer) {
      if (!answer.ok) throw new Error(name + ": " + answer.status);
      return answer.arrayBuffer();
    });
  }
  function python() {
    return Promise.all(BINARIES.map(read).concat(load("pyodide.asm.js"))).then(function (files) {
      var own = window.fetch;
      window.fetch = function (address, options) {
        var k = BINARIES.findIndex(function (name) { return String(address.url || address) === PYODIDE + name; });
        if (k < 0) return own.call(window, address, options);
        var type = k === 0 ? "application/wasm" : "application/octet-stream";
        return Promise.resolve(new Response(files[k], { headers: { "Content-Type": type } }));
      };
      return window.loadPyodide({ indexURL: PYODIDE }).finally(function () { window.fetch = own; });
    });
  }

  say("Starting Python in this page …", "starting");
  var slow = setTimeout(function () {
    say("Python has not started within " + PATIENCE + " seconds. Until it does, this is the first drawing.", "static");
  }, 1000 * PATIENCE);
  load("pyodide.js").then(function () {
    return python().then(start).catch(function (error) {
      say("Python did not start in this browser (" + String(error.message || error).split("\n")[0] + "): this is the first drawing.", "static");
    });
  }, function () {
    say("This copy of the book was built without the Python that moves the drawing: this is the first one.", "static");
  }).finally(function () { clearTimeout(slow); });
})();
