// The page: photograph -> mask, which a brush corrects -> mesh -> file. All of it happens in this browser.
(() => {
  "use strict";

  const ABOUT = JSON.parse(document.getElementById("about").textContent);
  const LARGEST = 1600; // px; larger photographs are made smaller
  const SALIENCY_SIDE = 320;
  const FIT_SIZE = 128; // px, of the silhouettes that the camera is fitted with
  const CLOSE_UP_SIZE = 512; // px, of the picture that the texture is painted from
  const ROUNDS = 1; // how often the mesh is predicted again for the camera that fits
  const GOOD_OVERLAP = 0.7; // with less, cameras from all around are tried
  const BRUSH_COLOUR = [213, 94, 0];

  const state = { photo: null, mask: null, name: "", foundBy: "", glb: null, result: null };
  const $ = (id) => document.getElementById(id);
  const canvas = $("picture");
  globalThis.astDemo = state; // for tests, and for the curious

  // ---- what the page carries ----

  async function carried(id) {
    const text = atob($(id).textContent);
    const packed = new Uint8Array(text.length);
    for (let k = 0; k < text.length; k++) packed[k] = text.charCodeAt(k);
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  let runtime = null;
  async function startRuntime() {
    const code = new Blob([await carried("runtime-code")], { type: "text/javascript" });
    ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(code) };
    ort.env.wasm.wasmBinary = await carried("runtime-wasm");
    ort.env.wasm.numThreads = 1; // threads need headers that a file has not
    ort.env.logLevel = "error";
  }

  const sessions = {};
  function session(id) {
    runtime ??= startRuntime();
    sessions[id] ??= runtime.then(() => carried(id)).then((bytes) => ort.InferenceSession.create(bytes));
    return sessions[id];
  }

  async function run(id, inputs) {
    const network = await session(id);
    const feeds = {};
    for (const [name, [array, shape]] of Object.entries(inputs)) feeds[name] = new ort.Tensor("float32", array, shape);
    return network.run(feeds);
  }

  // ---- photograph and mask ----

  async function open(file) {
    await working("reading the photograph", async () => {
      const bitmap = await createImageBitmap(file).catch(() => {
        throw new Error("This file is no picture that your browser can read. Try JPEG, PNG or WebP.");
      });
      const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
      const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
      const context = Object.assign(document.createElement("canvas"), { width, height }).getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, width, height);
      state.photo = { width, height, rgba: context.getImageData(0, 0, width, height).data };
      state.name = file.name.replace(/\.[^.]*$/, "") || "object";
      state.mask = null;
      show();
    });
    await working("looking for the object", findMask);
    await reconstruct();
  }

  async function findMask() {
    const { photo } = state;
    const { width, height, rgba } = photo;
    let mask = new Float32Array(width * height);
    let notices = [];
    if (AstPicture.isCutOut(photo)) {
      for (let at = 0; at < mask.length; at++) {
        mask[at] = rgba[4 * at + 3] / 255;
        if (mask[at] === 0) rgba.fill(255, 4 * at, 4 * at + 3); // what is under transparency is of no use
      }
      state.foundBy = "alpha channel";
    } else {
      for (let at = 0; at < mask.length; at++) {
        const alpha = rgba[4 * at + 3] / 255;
        for (let c = 0; c < 3; c++) rgba[4 * at + c] = Math.round(rgba[4 * at + c] * alpha + 255 * (1 - alpha));
      }
      const input = AstPicture.saliencyInput(photo, SALIENCY_SIDE);
      const network = await session("mask-network");
      const answers = await run("mask-network", { [network.inputNames[0]]: [input, [1, 3, SALIENCY_SIDE, SALIENCY_SIDE]] });
      mask = AstPicture.saliencyMask(answers[network.outputNames[0]].data, SALIENCY_SIDE, width, height);
      state.foundBy = ABOUT.mask_network;
      notices = [AstPicture.doubt(mask)];
    }
    const { mask: largest, others } = AstPicture.largestObject(mask, width, height);
    if (others) notices.push(`There ${others === 1 ? "is 1 more object" : `are ${others} more objects`}; the largest is taken. `
      + "To take another, erase this one and paint over that one.");
    state.mask = largest;
    say(notices.filter(Boolean).join(" "));
    show();
  }

  // ---- mesh ----

  async function reconstruct() {
    if (!state.mask) return;
    await working("reconstructing", async () => {
      const { photo, mask } = state;
      const started = performance.now();
      const box = AstPicture.objectBox(mask, photo.width, photo.height, ABOUT.data.crop_padding);
      if (!box) throw new Error("There is no object in the mask: paint over it with the brush.");
      const input = AstPicture.modelInput(photo, mask, box, ABOUT.data);
      const target = coverage(AstPicture.modelInput(photo, mask, box, ABOUT.data, FIT_SIZE));
      state.input = input;
      const first = await predict(input, null);
      let seen = { ...first, ...AstCamera.fit(first.mesh, first.camera, target, FIT_SIZE) };
      for (let round = 0; round < ROUNDS; round++) {
        const again = await predict(input, seen.camera);
        seen = { ...again, ...AstCamera.fit(again.mesh, again.camera, target, FIT_SIZE) };
      }
      if (seen.overlap < GOOD_OVERLAP) {
        const found = AstCamera.search(first.mesh, first.camera, target, FIT_SIZE);
        const again = await predict(input, found.camera);
        const other = { ...again, ...AstCamera.fit(again.mesh, again.camera, target, FIT_SIZE) };
        if (other.overlap > seen.overlap) seen = other;
      }
      const closeUp = AstPicture.modelInput(photo, mask, box, ABOUT.data, CLOSE_UP_SIZE);
      const mirror = ABOUT.mirror_face;
      const painted = AstGlb.paint(seen.mesh, seen.texels, seen.camera, closeUp, CLOSE_UP_SIZE, mirror);
      state.result = { ...seen, box, seenShare: painted.seenShare };
      state.glb = await AstGlb.encode(seen.mesh, painted.colours, state.name, { seen_share: painted.seenShare });
      state.seconds = (performance.now() - started) / 1000;
      present();
    });
  }

  async function predict(input, camera) {
    const { image_size: size } = ABOUT.data;
    const known = camera ?? { rotation: new Array(9).fill(0), translation: [0, 0, 0], focal: [0, 0], principal: [0, 0] };
    const inputs = {
      image: [input, [1, size, size, 4]],
      given_rotation: [Float32Array.from(known.rotation), [1, 3, 3]],
      given_translation: [Float32Array.from(known.translation), [1, 3]],
      given_focal: [Float32Array.from(known.focal), [1, 2]],
      given_principal: [Float32Array.from(known.principal), [1, 2]],
      camera_is_known: [Float32Array.of(camera ? 1 : 0), []],
    };
    const found = await run("model", inputs);
    const list = (name) => Array.from(found[name].data);
    return {
      mesh: { vertices: found.vertices.data, faces: found.faces.data },
      texels: found.texels.data,
      camera: camera ?? {
        rotation: list("rotation"), translation: list("translation"), focal: list("focal"), principal: list("principal"),
      },
    };
  }

  function coverage(square) {
    return Float32Array.from({ length: square.length / 4 }, (_, at) => square[4 * at + 3]);
  }

  // ---- what is shown ----

  function show() {
    const { photo, mask } = state;
    if (!photo) return;
    [canvas.width, canvas.height] = [photo.width, photo.height];
    canvas.style.maxWidth = `${(30 * photo.width) / photo.height}rem`; // so that it is not higher than the mesh beside it
    const picture = new ImageData(new Uint8ClampedArray(photo.rgba), photo.width, photo.height);
    const shade = $("shade").checked && mask;
    for (let at = 0; at < photo.width * photo.height; at++) {
      if (shade) {
        const inside = mask[at];
        for (let c = 0; c < 3; c++) {
          const grey = 0.35 * picture.data[4 * at + c] + 0.65 * 255;
          picture.data[4 * at + c] = inside * picture.data[4 * at + c] + (1 - inside) * grey;
        }
      }
      picture.data[4 * at + 3] = 255;
    }
    if (shade) outline(picture, mask);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    document.body.classList.add("has-photo");
  }

  /** A line where the mask ends, as wide as it looks good. */
  function outline(picture, mask) {
    const { width, height } = picture;
    const reach = Math.max(1, Math.round(Math.max(width, height) / 500));
    for (let y = reach; y < height - reach; y++) {
      for (let x = reach; x < width - reach; x++) {
        const at = y * width + x;
        const inside = mask[at] > 0.5;
        if ([-reach, reach, -reach * width, reach * width].some((step) => mask[at + step] > 0.5 !== inside)) {
          picture.data.set(BRUSH_COLOUR, 4 * at);
        }
      }
    }
  }

  let address = null;
  function present() {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([state.glb], { type: "model/gltf-binary" }));
    $("viewer").src = address;
    $("download").href = address;
    $("download").download = `${state.name}.glb`;
    const numbers = {
      "overlap with the mask": state.result.overlap.toFixed(3),
      "surface that the photograph shows": `${(100 * state.result.seenShare).toFixed(0)} %`,
      "mask": state.foundBy,
      "time": `${state.seconds.toFixed(1)} s`,
      "file": `${(state.glb.length / 1024).toFixed(0)} KB`,
    };
    $("numbers").replaceChildren(...Object.entries(numbers).map(([label, value]) => {
      const item = document.createElement("li");
      item.append(`${label} `, Object.assign(document.createElement("b"), { textContent: value }));
      return item;
    }));
    document.body.classList.add("has-mesh");
    document.body.dataset.done = String(Number(document.body.dataset.done ?? 0) + 1);
  }

  function say(text, isError = false) {
    $("notice").textContent = text;
    $("notice").classList.toggle("error", isError);
  }

  async function working(what, task) {
    $("busy").textContent = `${what} …`;
    document.body.classList.add("is-busy");
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0))); // let it be drawn first
    try {
      await task();
    } catch (error) {
      say(error.message ?? String(error), true);
      document.body.dataset.failed = error.message ?? String(error);
      throw error;
    } finally {
      document.body.classList.remove("is-busy");
    }
  }

  // ---- brush ----

  let stroke = null;
  function paintAt(event) {
    const { photo, mask } = state;
    if (!stroke || !mask) return;
    const frame = canvas.getBoundingClientRect();
    const scale = photo.width / frame.width;
    const to = [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
    const radius = (Number($("size").value) / 2) * scale;
    const value = document.querySelector("input[name=tool]:checked").value === "add" ? 1 : 0;
    const from = stroke.last ?? to;
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(radius / 2, 1)));
    for (let k = 1; k <= steps; k++) dab(from[0] + ((to[0] - from[0]) * k) / steps, from[1] + ((to[1] - from[1]) * k) / steps, radius, value);
    stroke.last = to;
    stroke.pending ??= requestAnimationFrame(() => { stroke && (stroke.pending = null); show(); });
  }

  function dab(x, y, radius, value) {
    const { photo, mask } = state;
    for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(photo.height - 1, y + radius); row++) {
      for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(photo.width - 1, x + radius); column++) {
        if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius) mask[row * photo.width + column] = value;
      }
    }
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!state.mask) return;
    canvas.setPointerCapture(event.pointerId);
    stroke = { last: null, pending: null };
    paintAt(event);
  });
  canvas.addEventListener("pointermove", paintAt);
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => {
      if (!stroke) return;
      stroke = null;
      state.foundBy = state.foundBy.replace(/(, corrected)?$/, ", corrected");
      const { photo } = state;
      state.mask = AstPicture.largestObject(state.mask, photo.width, photo.height).mask;
      show();
    });
  }

  // ---- buttons ----

  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // so that the same file can be chosen again
    if (file) open(file).catch(() => {});
  });
  $("again").addEventListener("click", () => reconstruct().catch(() => {}));
  $("reset").addEventListener("click", () => working("looking for the object", findMask).catch(() => {}));
  $("shade").addEventListener("change", show);
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("is-over"); });
  addEventListener("dragleave", () => document.body.classList.remove("is-over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("is-over");
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]).catch(() => {});
  });
  addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) open(event.clipboardData.files[0]).catch(() => {});
  });
  document.body.dataset.ready = "yes";
})();
