/* The trained network in a page (ternary_lib/live.py writes the page around this script): a truth table to click, a walk between
   two tables, coverage as it grows. What is known of a table comes from the library; only the network is computed here. */
(function () {
  "use strict";
  var SIGNS = ["−1", "0", "+1"];
  var CELLS = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  var PATHWAYS = ["a", "b"];
  var STRIDE = 250; /* draws between two drawings */

  function bytes(text) {
    return Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); });
  }

  /* --- the network: encoders, decoder A, decoder B, as in ternary_lib/model.py --- */
  function network(data) {
    var all = new Float32Array(bytes(data.weights).buffer);
    var tensors = {};
    Object.keys(data.tensors).forEach(function (name) {
      tensors[name] = all.subarray(data.tensors[name][0], data.tensors[name][1]);
    });

    function linear(name, x) {
      var weight = tensors[name + ".weight"], bias = tensors[name + ".bias"];
      var y = new Float32Array(bias.length);
      for (var i = 0, at = 0; i < y.length; i++) {
        var sum = bias[i];
        for (var j = 0; j < x.length; j++) sum += weight[at++] * x[j];
        y[i] = sum;
      }
      return y;
    }
    function relu(x) { return x.map(function (v) { return v > 0 ? v : 0; }); }
    function stack(name, x) {
      for (var i = 0; tensors[name + "." + i + ".weight"]; i += 2) x = relu(linear(name + "." + i, x));
      return x;
    }
    function residual(name, h) {
      var correction = linear(name + ".outer", relu(linear(name + ".inner", h)));
      return h.map(function (v, i) { return v + correction[i]; });
    }
    return {
      encode: function (pathway, digits) {
        var name = "pathway_" + pathway + ".encoder";
        var h = stack(name + ".body", Float32Array.from(digits, function (d) { return d - 1; }));
        return { mu: linear(name + ".mu", h), sigma: linear(name + ".logvar", h).map(function (v) { return Math.exp(v / 2); }) };
      },
      decode: function (pathway, z) { /* 27 logits */
        var name = "pathway_" + pathway + ".decoder";
        if (pathway === "a") return linear(name + ".out", stack(name + ".body", z));
        var h = relu(linear(name + ".inp", z));
        for (var i = 0; tensors[name + ".blocks." + i + ".inner.weight"]; i++) h = residual(name + ".blocks." + i, i ? relu(h) : h);
        return linear(name + ".out", h);
      }
    };
  }

  /* --- tables --- */
  function toIndex(digits) { return digits.reduce(function (sum, d) { return 3 * sum + d; }, 0); }
  function fromIndex(index) {
    return CELLS.map(function (j) { return Math.floor(index / Math.pow(3, 8 - j)) % 3; });
  }
  function likeliest(logits) {
    return CELLS.map(function (j) {
      var k = 3 * j;
      return logits[k + 2] > Math.max(logits[k], logits[k + 1]) ? 2 : logits[k + 1] > logits[k] ? 1 : 0;
    });
  }
  function probability(logits, j, digit) { /* of one value of one entry */
    var top = Math.max(logits[3 * j], logits[3 * j + 1], logits[3 * j + 2]);
    var parts = [0, 1, 2].map(function (d) { return Math.exp(logits[3 * j + d] - top); });
    return parts[digit] / (parts[0] + parts[1] + parts[2]);
  }

  /* --- numbers a reader can draw again: mulberry32, Box and Muller --- */
  function normals(seed) {
    function uniform() {
      var t = (seed = (seed + 0x6d2b79f5) | 0);
      t = Math.imul(t ^ (t >>> 15), t | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }
    return function () { return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()); };
  }

  function start(root) {
    var data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
    var net = network(data);
    var properties = bytes(data.properties);
    var total = properties.length;
    var digits = fromIndex(data.start);
    var counting = null;

    function part(name) { return root.querySelector("[data-part='" + name + "']"); }
    function each(name, act) { Array.prototype.forEach.call(root.querySelectorAll(name), act); }
    function count(n) { return n.toLocaleString("en"); }
    function signed(v) { return v.toFixed(3).replace("-", "−"); }
    function nameOf(index) {
      var found = data.named.filter(function (one) { return one.index === index; })[0];
      return found ? found.name : "";
    }
    function called(index) { return count(index) + (nameOf(index) ? ", " + nameOf(index) : ""); }

    /* --- one table --- */
    function showCells(where, shown, logits, wanted) { /* a decoded table, its probabilities, its wrong entries */
      where.innerHTML = "<table><tbody>" + [0, 1, 2].map(function (x) {
        return "<tr>" + [0, 1, 2].map(function (y) {
          var j = 3 * x + y, wrong = wanted && wanted[j] !== shown[j];
          return '<td data-trit="' + shown[j] + '"' + (wrong ? ' class="wrong"' : "") + ">" + SIGNS[shown[j]] + (wrong ? " ✗" : "") +
            "<small>" + (100 * probability(logits, j, shown[j])).toFixed(1) + " %</small></td>";
        }).join("") + "</tr>";
      }).join("") + "</tbody></table>";
    }

    function showCodes(codes) { /* μ ± σ of both pathways, a column a dimension */
      var wide = 16 + 22 * data.latent;
      var y = function (v) { return 70 - 20 * Math.max(-3.2, Math.min(3.2, v)); };
      var lines = [-3, 0, 3].map(function (v) {
        return '<line x1="14" x2="' + wide + '" y1="' + y(v) + '" y2="' + y(v) + '" class="grid"/><text x="0" y="' + (y(v) + 4) + '">' + (v < 0 ? "−3" : v) + "</text>";
      });
      PATHWAYS.forEach(function (p, k) {
        Array.prototype.forEach.call(codes[p].mu, function (mu, d) {
          var x = 24 + 22 * d + 7 * k, sigma = codes[p].sigma[d];
          lines.push('<line class="' + p + '" x1="' + x + '" x2="' + x + '" y1="' + y(mu - sigma) + '" y2="' + y(mu + sigma) + '"/>');
          lines.push(k ? '<rect class="b" x="' + (x - 3) + '" y="' + (y(mu) - 3) + '" width="6" height="6"/>' : '<circle class="a" cx="' + x + '" cy="' + y(mu) + '" r="3"/>');
        });
      });
      part("codes").innerHTML = '<svg viewBox="0 0 ' + (wide + 4) + ' 142" role="img" aria-label="Mean and spread of the code in each of ' + data.latent +
        ' dimensions, pathway A as circles, pathway B as squares; the numbers stand in the table below">' + lines.join("") + "</svg>";
      part("code-rows").innerHTML = Array.from(codes.a.mu, function (_, d) {
        return '<tr><th scope="row">' + d + "</th>" + PATHWAYS.map(function (p) {
          return "<td>" + signed(codes[p].mu[d]) + "</td><td>" + codes[p].sigma[d].toFixed(3) + "</td>";
        }).join("") + "</tr>";
      }).join("");
    }

    function showTable() {
      var index = toIndex(digits), name = nameOf(index), bits = properties[index], codes = {};
      each("[data-cell]", function (button) {
        var j = Number(button.dataset.cell);
        button.textContent = SIGNS[digits[j]];
        button.dataset.trit = digits[j];
        button.setAttribute("aria-label", "f(" + SIGNS[Math.floor(j / 3)] + ", " + SIGNS[j % 3] + ") is " + SIGNS[digits[j]] + "; press to change");
      });
      part("index").value = index;
      part("named").value = name ? String(index) : "";
      part("known").textContent = name ? data.named.filter(function (one) { return one.index === index; })[0].description : "No name of its own here.";
      part("properties").innerHTML = data.property_names.map(function (property, k) {
        var holds = bits >> k & 1;
        return '<li class="' + (holds ? "yes" : "no") + '">' + (holds ? "✓ " : "✗ ") + (holds ? "" : "not ") + property + "</li>";
      }).join("");
      PATHWAYS.forEach(function (p) {
        codes[p] = net.encode(p, digits);
        var logits = net.decode(p, codes[p].mu), shown = likeliest(logits);
        var wrong = CELLS.filter(function (j) { return shown[j] !== digits[j]; }).length;
        showCells(part("decoded-" + p), shown, logits, digits);
        part("verdict-" + p).textContent = wrong ? wrong + " of 9 entries wrong: table " + called(toIndex(shown)) : "exact";
      });
      showCodes(codes);
      showWalk();
    }

    /* --- a walk --- */
    function showWalk() {
      var share = Number(part("share").value) / 100, there = fromIndex(Number(part("target").value));
      part("share-words").textContent = (100 * share).toFixed(0) + " %";
      PATHWAYS.forEach(function (p) {
        var from = net.encode(p, digits).mu, to = net.encode(p, there).mu, passed = [];
        function at(t) { return net.decode(p, from.map(function (v, d) { return v + t * (to[d] - v); })); }
        for (var k = 0; k <= 100; k++) {
          var index = toIndex(likeliest(at(k / 100)));
          if (index !== passed[passed.length - 1]) passed.push(index);
        }
        var logits = at(share);
        showCells(part("walk-" + p), likeliest(logits), logits);
        part("passed-" + p).textContent = passed.length + (passed.length === 1 ? " table" : " tables") + " on the way: " + passed.map(called).join(" → ");
      });
    }

    /* --- coverage --- */
    function die(n) { return total * -Math.expm1(n * Math.log1p(-1 / total)); }
    function showCoverage() {
      var n = counting.n, far = Math.max(2000, n);
      var x = function (v) { return 44 + 400 * v / far; };
      var top = Math.max(die(far), 1), y = function (v) { return 190 - 170 * v / top; };
      function path(values) { return "M" + values.map(function (v) { return x(v[0]).toFixed(1) + " " + y(v[1]).toFixed(1); }).join("L"); }
      var throws = CELLS.concat(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20).map(function (k) { return [far * k / 20, die(far * k / 20)]; });
      part("coverage").innerHTML = '<svg viewBox="0 0 456 226" role="img" aria-label="Different operations found, over draws">' +
        '<line class="grid" x1="44" x2="444" y1="190" y2="190"/><line class="grid" x1="44" x2="44" y1="20" y2="190"/>' +
        '<text x="40" y="194" text-anchor="end">0</text><text x="40" y="24" text-anchor="end">' + count(Math.round(top)) + '</text>' +
        '<text x="44" y="208" text-anchor="middle">0</text><text x="444" y="208" text-anchor="end">' + count(far) + '</text><text x="244" y="222" text-anchor="middle">draws</text>' +
        '<text x="44" y="12">different operations</text><path class="die" d="' + path(throws) + '"/>' +
        PATHWAYS.map(function (p) { return '<path class="' + p + '" d="' + path(counting[p].curve) + '"/>'; }).join("") + "</svg>";
      PATHWAYS.forEach(function (p) {
        part("found-" + p).textContent = count(counting[p].found);
      });
      part("drawn").textContent = count(n);
      part("die").textContent = count(Math.round(die(n)));
    }
    function restart() {
      counting = { n: 0, left: 0 };
      PATHWAYS.forEach(function (p, k) {
        counting[p] = { found: 0, seen: new Uint8Array(total), curve: [[0, 0]], normal: normals(2 * Number(part("seed").value) + k) };
      });
      showCoverage();
    }
    function draw() {
      if (!counting.left) return;
      PATHWAYS.forEach(function (p) {
        var one = counting[p];
        for (var k = 0; k < STRIDE; k++) {
          var index = toIndex(likeliest(net.decode(p, Float32Array.from({ length: data.latent }, one.normal))));
          one.found += 1 - one.seen[index];
          one.seen[index] = 1;
        }
        one.curve.push([counting.n + STRIDE, one.found]);
      });
      counting.n += STRIDE;
      counting.left -= STRIDE;
      showCoverage();
      if (counting.left) setTimeout(draw);
    }

    function clamp(input) { /* a whole number within the input's bounds; what stood there before where it is none */
      var value = Math.round(Number(input.value));
      if (input.value === "" || !isFinite(value)) return null;
      return (input.value = Math.min(Number(input.max), Math.max(Number(input.min), value)));
    }
    root.addEventListener("click", function (event) {
      var button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.cell) {
        digits[Number(button.dataset.cell)] = (digits[Number(button.dataset.cell)] + 1) % 3;
        return showTable();
      }
      if (button.dataset.draws) {
        var waits = counting.left === 0;
        counting.left += Number(button.dataset.draws);
        if (waits) draw();
      }
      if (button.dataset.act === "random") { digits = fromIndex(Math.floor(Math.random() * total)); showTable(); }
      if (button.dataset.act === "restart") restart();
    });
    root.addEventListener("keydown", function (event) { /* a cell takes the value typed on it */
      var typed = { "-": 0, "−": 0, "0": 1, "+": 2, "1": 2 }[event.key];
      if (!event.target.dataset.cell || typed === undefined) return;
      digits[Number(event.target.dataset.cell)] = typed;
      showTable();
    });
    root.addEventListener("input", function (event) {
      var name = event.target.dataset.part;
      if (name === "named" && event.target.value !== "") { digits = fromIndex(Number(event.target.value)); showTable(); }
      if (name === "share" || name === "target-named") {
        if (name === "target-named" && event.target.value !== "") part("target").value = event.target.value;
        showWalk();
      }
    });
    root.addEventListener("change", function (event) {
      var name = event.target.dataset.part;
      if (name === "index") { var index = clamp(event.target); if (index !== null) digits = fromIndex(index); showTable(); }
      if (name === "target") { if (clamp(event.target) === null) event.target.value = data.target; part("target-named").value = nameOf(Number(event.target.value)) ? event.target.value : ""; showWalk(); }
      if (name === "seed") { if (clamp(event.target) === null) event.target.value = 0; restart(); }
    });
    each("fieldset", function (set) { set.disabled = false; });
    part("status").hidden = true;
    part("target-named").value = String(data.target);
    restart();
    showTable();
    root.dataset.state = "ready";
  }

  Array.prototype.forEach.call(document.querySelectorAll(".ternary-live:not([data-state])"), start);
})();
