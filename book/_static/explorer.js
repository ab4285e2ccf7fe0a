/* The schedule explorer of a built page. The drawing, the checks and the file are made by the library's own Python
   (ternary_lib/explorer.py), which Pyodide runs in the page; this script only carries what the controls say to it and
   what it answers to the page. */
(function () {
  "use strict";
  var statics = document.currentScript.src.replace(/explorer\.js.*$/, "");
  var root = document.getElementById("schedule-explorer");
  var data = JSON.parse(document.getElementById("schedule-explorer-data").textContent);
  var status = root.querySelector(".status");
  var values = {}; /* what was moved: the rest keeps the preset's last digits */
  var view = null;
  var waiting = false;

  function part(name) { return document.getElementById("explorer-" + name); }
  function preset() { return data.presets[Number(part("preset").value)]; }
  function inputs() { return Array.from(root.querySelectorAll("input[data-key]")); }
  function say(words, state) {
    status.textContent = words;
    root.dataset.state = state;
  }

  function standing(schedules, key) {
    var names = key.split(".");
    return schedules[names[0]][names[0] === "phases" ? Number(names[1]) : names[1]];
  }

  function restore() {
    var schedules = preset().schedules;
    values = {};
    inputs().forEach(function (input) {
      var value = standing(schedules, input.dataset.key);
      var phases = input.dataset.key.indexOf("phases.") === 0;
      if (phases) input.max = Math.max.apply(null, [schedules.total_epochs].concat(schedules.phases));
      input.min = Math.min(Number(input.min), value);
      input.max = Math.max(Number(input.max), value);
      input.value = input.type === "number" ? Number(value.toPrecision(6)) : value;
    });
    part("policy").value = schedules.rho.gate;
    part("gate").value = "always open";
    part("gate").querySelector("[value='as measured']").disabled = !preset().run.grad_ratio;
    part("run").checked = false;
    part("run").disabled = !preset().run.rho;
    part("from").value = schedules.phases[1];
    part("to").value = Math.min(schedules.phases[2], schedules.total_epochs - 1);
    draw();
  }

  function draw() {
    if (waiting || !view) return;
    waiting = true;
    requestAnimationFrame(function () {
      waiting = false;
      var start = preset();
      part("closed").hidden = part("gate").value !== "closed for a while";
      var answer = JSON.parse(view(JSON.stringify({
        path: start.path, name: start.name, schedules: start.schedules, run: start.run, values: values,
        policy: part("policy").value, gate: part("gate").value, show_run: part("run").checked,
        closed: [Number(part("from").value), Number(part("to").value)], own_name: part("name").value.trim()
      })));
      if (answer.fault) return say(answer.fault, "fault");
      var file = part("name").value.trim() + ".yaml";
      root.querySelectorAll(".panel").forEach(function (panel, i) { panel.innerHTML = answer.panels[i]; });
      part("yaml").textContent = answer.yaml;
      part("commands").textContent = "ternary train --config " + file + "\npapermill notebooks/03_training.ipynb mine.ipynb -p config " + file;
      say("Drawn by the library's own Python, in this page.", "ready");
    });
  }

  function move(event) {
    var input = event.target;
    if (!input.dataset.key) return draw();
    var value = Math.min(Number(input.max), Math.max(Number(input.min), Number(input.value)));
    if (input.value === "" || !isFinite(value)) return;
    if (input.dataset.key.indexOf("phases.") === 0) value = Math.round(value);
    values[input.dataset.key] = value;
    inputs().forEach(function (twin) {
      if (twin.dataset.key === input.dataset.key && twin !== input) twin.value = value;
    });
    draw();
  }

  function download() {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([part("yaml").textContent], { type: "application/yaml" }));
    link.download = part("name").value.trim() + ".yaml";
    link.click();
    URL.revokeObjectURL(link.href);
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
    part("reset").addEventListener("click", restore);
    part("download").addEventListener("click", download);
    part("copy").addEventListener("click", function () { navigator.clipboard.writeText(part("yaml").textContent); });
    restore();
  }

  if (location.protocol === "file:") {
    return say("This is the first drawing. To move it, read the book over http: run python -m http.server in the book's folder and open the " +
      "address that it names. The explorer of the chapter on phases moves from a file, too.", "static");
  }
  say("Starting Python in this page …", "starting");
  var script = document.createElement("script");
  script.src = statics + "vendor/pyodide/pyodide.js";
  script.onload = function () {
    window.loadPyodide({ indexURL: statics + "vendor/pyodide/" }).then(start).catch(function (error) {
      say("Python did not start in this browser (" + String(error.message || error).split("\n")[0] + "): this is the first drawing.", "static");
    });
  };
  script.onerror = function () {
    say("This copy of the book was built without the Python that moves the drawing: this is the first one.", "static");
  };
  document.head.appendChild(script);
})();
