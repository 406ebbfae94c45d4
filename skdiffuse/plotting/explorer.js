// One panel a cube or several: a slider for time, a choice of member, and the series of a cell.
"use strict";
(() => {
  const MISSING = 255, LEVELS_OF_CODE = 253;
  // Of a map in pixels, by how many there are.
  const WIDTHS = { 1: 560, 2: 440 };

  const make = (tag, parent, text = "", options = {}) => {
    const element = Object.assign(document.createElement(tag), options);
    element.textContent = text;
    parent.append(element);
    return element;
  };

  async function unpack(cube) {
    const packed = Uint8Array.from(atob(cube.codes), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    cube.bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    cube.rates = Float32Array.from({ length: 256 }, (_, code) =>
      code === 0 ? 0 : code === MISSING ? NaN
        : cube.low * (cube.high / cube.low) ** ((code - 1) / LEVELS_OF_CODE));
    const [members, frames, rows, columns] = cube.shape;
    cube.at = (m, t, y, x) => m < members && t < frames
      ? cube.rates[cube.bytes[((m * frames + t) * rows + y) * columns + x]] : NaN;
    return cube;
  }

  const colourOf = (rate, scale) => {
    if (Number.isNaN(rate)) return scale.missing;
    let step = 0;
    while (step < scale.levels.length && rate >= scale.levels[step]) step += 1;
    return scale.colours[step];
  };

  const written = (rate) => Number.isNaN(rate) ? "missing" : `${Number(rate.toPrecision(2))} mm/h`;

  function drawMap(view, state, scale) {
    const { cube, canvas } = view;
    const [members, frames, rows, columns] = cube.shape;
    const member = cube.single ? 0 : state.member;
    const pen = canvas.getContext("2d");
    const width = canvas.width / columns, height = canvas.height / rows;
    for (let y = 0; y < rows; y += 1) {
      for (let x = 0; x < columns; x += 1) {
        pen.fillStyle = colourOf(cube.at(member, state.frame, y, x), scale);
        pen.fillRect(Math.floor(x * width), Math.floor(y * height),
          Math.ceil(width), Math.ceil(height));
      }
    }
    if (state.cell) {
      const [y, x] = state.cell;
      pen.lineWidth = 2;
      pen.strokeStyle = "#d55e00";
      pen.strokeRect(x * width, y * height, width, height);
      pen.strokeRect(x * width - 4, y * height - 4, width + 8, height + 8);
      const rate = cube.at(member, state.frame, y, x);
      const absent = member >= members || state.frame >= frames;
      view.note.textContent = absent ? "nothing here" : written(rate);
    }
  }

  function drawSeries(canvas, views, state, labels) {
    const pen = canvas.getContext("2d"), { width, height } = canvas;
    const left = 56, right = 12, top = 14, bottom = 34;
    pen.clearRect(0, 0, width, height);
    pen.font = "13px sans-serif";
    pen.fillStyle = "#444";
    const [y, x] = state.cell, frames = labels.length;
    const series = views.flatMap(({ cube, colour }) =>
      Array.from({ length: cube.shape[0] }, (_, member) => ({
        colour, single: cube.single, chosen: cube.single || member === state.member,
        rates: Array.from({ length: cube.shape[1] }, (_, t) => cube.at(member, t, y, x)),
      })));
    const highest = Math.max(0.1, ...series.flatMap((s) => s.rates.filter((r) => !isNaN(r))));
    const across = (t) => left + (frames > 1 ? t / (frames - 1) : 0.5) * (width - left - right);
    const up = (rate) => height - bottom - (rate / highest) * (height - top - bottom);
    pen.textAlign = "right";
    pen.lineWidth = 1;
    const power = 10 ** Math.floor(Math.log10(highest / 4));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => highest / k <= 5);
    for (let rate = 0; rate <= highest; rate += step) {
      pen.strokeStyle = "#e4e4e4";
      pen.beginPath();
      pen.moveTo(left, up(rate));
      pen.lineTo(width - right, up(rate));
      pen.stroke();
      pen.fillText(`${Number(rate.toPrecision(3))}`, left - 6, up(rate) + 4);
    }
    const apart = Math.max(1, Math.ceil(frames / 5));
    for (let t = 0; t < frames; t += apart) {
      pen.textAlign = t === 0 ? "left" : t === frames - 1 ? "right" : "center";
      pen.fillText(labels[t], across(t), height - bottom + 18);
    }
    pen.strokeStyle = "#999";
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(across(state.frame), top);
    pen.lineTo(across(state.frame), height - bottom);
    pen.stroke();
    pen.setLineDash([]);
    series.sort((a, b) => a.chosen - b.chosen);
    for (const { colour, chosen, rates } of series) {
      pen.strokeStyle = colour;
      pen.globalAlpha = chosen ? 1 : 0.4;
      pen.lineWidth = chosen ? 2.2 : 1;
      pen.beginPath();
      let drawing = false;
      rates.forEach((rate, t) => {
        if (isNaN(rate)) { drawing = false; return; }
        if (drawing) pen.lineTo(across(t), up(rate)); else pen.moveTo(across(t), up(rate));
        drawing = true;
      });
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  async function start(panel) {
    const data = JSON.parse(panel.querySelector("script").textContent);
    await Promise.all(data.cubes.map(unpack));
    const state = { frame: 0, member: 0, cell: null, playing: null };
    const controls = make("div", panel, "", { className: "controls" });
    const maps = make("div", panel, "", { className: "maps" });
    const views = data.cubes.map((cube) => {
      const box = make("div", maps, "", { className: "map" });
      const title = make("div", box, cube.name, { className: "name" });
      title.style.borderLeft = `.5rem solid ${cube.colour}`;
      const canvas = make("canvas", box, "", { tabIndex: 0 });
      const side = Math.max(...cube.shape.slice(2)), wanted = WIDTHS[data.cubes.length] ?? 280;
      const scale = Math.max(2, Math.round(wanted / side));
      canvas.width = cube.shape[3] * scale;
      canvas.height = cube.shape[2] * scale;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `map of ${cube.name}: click on a cell for its series`);
      return { cube, canvas, colour: cube.colour, note: make("div", box, "", { className: "note" }) };
    });
    const bar = make("div", panel, "", { className: "scale" });
    data.scale.colours.slice(1).forEach((colour, i) => {
      make("span", bar, `${data.scale.levels[i]}`).style.borderTopColor = colour;
    });
    make("em", bar, "mm/h");
    const told = make("p", panel, "Click on a cell for its series.", { className: "told" });
    const chart = make("canvas", panel, "", { className: "series", width: 860, height: 250 });
    chart.setAttribute("role", "img");
    chart.hidden = true;

    const slider = (name, n) => {
      const label = make("label", controls, `${name} `);
      const input = make("input", label, "", { type: "range", min: 0, max: n - 1, value: 0 });
      input.className = name;
      return [input, make("output", label)];
    };
    const play = make("button", controls, "Play", { type: "button", className: "play" });
    const [time, timeText] = slider("time", data.labels.length);
    let choice = null;
    const members = Math.max(...data.cubes.map((c) => c.single ? 0 : c.shape[0]));
    if (members > 0) {
      choice = make("select", make("label", controls, `${data.selector} `), "",
        { className: "member" });
      for (let m = 0; m < members; m += 1) make("option", choice, `${m + 1}`, { value: m });
      choice.addEventListener("change", () => { state.member = Number(choice.value); show(); });
    }

    const place = (coords, i) => coords ? `${coords.name} ${coords.values[i]}` : null;
    const show = () => {
      timeText.textContent = data.labels[state.frame];
      views.forEach((view) => drawMap(view, state, data.scale));
      if (!state.cell) return;
      const [y, x] = state.cell, first = views[0].cube;
      const where = [place(first.y, y) ?? `row ${y + 1} from the top`,
        place(first.x, x) ?? `column ${x + 1}`].join(", ");
      told.textContent = `Cell at ${where}: rain rate (mm/h) by time` +
        (choice ? `; thick: the chosen ${data.selector}, thin: all others.` : ".");
      chart.hidden = false;
      chart.setAttribute("aria-label", told.textContent);
      drawSeries(chart, views, state, data.labels);
    };
    time.addEventListener("input", () => { state.frame = Number(time.value); show(); });
    play.addEventListener("click", () => {
      if (state.playing) {
        clearInterval(state.playing);
        state.playing = null;
      } else {
        state.playing = setInterval(() => {
          state.frame = (state.frame + 1) % data.labels.length;
          time.value = state.frame;
          show();
        }, 400);
      }
      play.textContent = state.playing ? "Stop" : "Play";
    });
    const choose = (y, x, [, , rows, columns]) => {
      state.cell = [Math.min(rows - 1, Math.max(0, y)), Math.min(columns - 1, Math.max(0, x))];
      show();
    };
    const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    views.forEach(({ cube, canvas }) => {
      canvas.addEventListener("click", (event) => {
        const [, , rows, columns] = cube.shape, box = canvas.getBoundingClientRect();
        choose(Math.floor((event.clientY - box.top) / box.height * rows),
          Math.floor((event.clientX - box.left) / box.width * columns), cube.shape);
      });
      canvas.addEventListener("keydown", (event) => {
        if (!ARROWS[event.key]) return;
        event.preventDefault();
        const [y, x] = state.cell ?? [0, 0], [dy, dx] = ARROWS[event.key];
        choose(y + dy, x + dx, cube.shape);
      });
    });
    show();
    panel.dataset.ready = "true";
  }

  document.querySelectorAll(".explorer").forEach((panel) => start(panel).catch((error) => {
    make("p", panel, `This part needs a newer browser (${error}).`);
  }));
})();
