for (const gallery of document.querySelectorAll(".gallery")) {
  const slider = gallery.querySelector("input"), play = gallery.querySelector(".play"), said = gallery.querySelector("output");
  const dialog = gallery.querySelector("dialog"), tiles = [...gallery.querySelectorAll("button.tile")];
  const near = dialog.querySelector(".near"), middle = dialog.querySelector(".now strong");
  let shown = 0, timer = 0;
  const show = (frame) => {
    slider.value = gallery.dataset.frame = frame;
    said.textContent = slider.list.options[frame].label;
  };
  const enlarge = (number) => {
    shown = (number + tiles.length) % tiles.length;
    const tile = tiles[shown];
    if (near) {
      near.hidden = !tile.dataset.near;
      near.querySelector("span").textContent = tile.dataset.near ?? "";
    }
    if (said) middle.textContent = said.textContent === slider.list.options[slider.max].label ? "Now" : said.textContent;
    const figures = [...dialog.querySelectorAll("figure:not([hidden])")], narrow = innerWidth <= 700;
    const { w, h } = gallery.dataset;
    for (const figure of figures) { // on a phone the image takes the width, and what it is compared with stands below
      const beside = !narrow ? figures.length : figure.className === "now" ? 1 : Math.max(2, figures.length - 1);
      const room = narrow ? (innerWidth - 56 - 10 * (beside - 1)) / beside : Math.min(innerWidth - 56 - 18 * beside, 1080) / beside;
      const scale = Math.min(room / w, innerHeight * (narrow ? beside > 1 ? 0.3 : 0.45 : 0.6) / h, 512 / w);
      figure.querySelector(".tile").style.cssText = tile.style.cssText;
      figure.style.setProperty("--s", scale >= 4 ? Math.floor(scale) : scale); // whole factors where little is lost by them
    }
    dialog.querySelector("p").textContent = tile.getAttribute("aria-label");
    if (!dialog.open) dialog.showModal();
  };
  if (slider) {
    gallery.querySelector(".way").hidden = false;
    slider.oninput = () => { clearInterval(timer); show(slider.value); };
    play.onclick = () => {
      clearInterval(timer);
      show(0);
      timer = setInterval(() => slider.value === slider.max ? clearInterval(timer) : show(+slider.value + 1), 700);
    };
  }
  tiles.forEach((tile, number) => { tile.onclick = () => enlarge(number); });
  dialog.querySelector(".back").onclick = () => enlarge(shown - 1);
  dialog.querySelector(".on").onclick = () => enlarge(shown + 1);
  dialog.querySelector(".close").onclick = () => dialog.close();
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.onclose = () => tiles[shown].focus();
  dialog.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { event.preventDefault(); enlarge(shown + step); }
  };
}
for (const maps of document.querySelectorAll(".attention")) {
  for (const layer of maps.querySelectorAll(".layers input")) {
    layer.onchange = () => { maps.dataset.layer = layer.value; };
  }
}
for (const where of document.querySelectorAll(".where")) {
  const buttons = [...where.querySelectorAll(".legend button")];
  for (const button of buttons) {
    button.onclick = () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of buttons) other.setAttribute("aria-pressed", on && other === button);
      for (const group of where.querySelectorAll("svg g")) group.classList.toggle("on", group.classList.contains(button.className));
      where.toggleAttribute("data-only", on);
    };
  }
}
for (const table of document.querySelectorAll("table.table")) { // on a phone a row is a block of label and value
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  for (const row of [...table.tBodies].flatMap((body) => [...body.rows])) {
    [...row.cells].forEach((cell, column) => {
      cell.dataset.label = heads[column];
      cell.classList.toggle("empty", !cell.textContent.trim());
    });
  }
  table.classList.add("labelled");
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], bodies = [...table.tBodies]; // each is sorted by itself
  const value = (row, column) => {
    const cell = row.cells[column], text = cell.dataset.v ?? cell.textContent.trim();
    return text === "" || text === "–" ? null : Number.isNaN(+text) ? text : +text;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.onclick = () => {
      const numeric = bodies.flatMap((body) => [...body.rows]).some((row) => typeof value(row, column) === "number");
      const before = head.getAttribute("aria-sort");
      const up = before === "none" ? !numeric : before === "descending";
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      for (const body of bodies) {
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : compare(a, b) * (up ? 1 : -1));
        body.append(...rows.map(([, row]) => row));
      }
    };
  });
}
