// Pictures and masks as arrays of numbers: what ast_jax/data/crop.py, masks.py and pretrained/saliency.py do in Python.
// A photograph is {width, height, rgba}, bytes as a canvas has them; a mask has a number in [0, 1] for each pixel.
globalThis.AstPicture = (() => {
  "use strict";

  // Of ImageNet, as ast_jax/pretrained/saliency.py.
  const MEAN = [0.485, 0.456, 0.406];
  const STD = [0.229, 0.224, 0.225];
  const CUT_OUT_SHARE = 0.1;
  const STRAY_SHARE = 0.02;
  const OBJECT_SHARE = 0.25;
  const SHARES = [0.005, 0.95];
  const STABLE_IOU = 0.6;

  /** An interval of the source as `size` pixels: weights of a tent, at least one source pixel wide. See `tent_taps`.
   * beyond: what lies outside of the source: "clear" has no weight, "nothing" does not count at all. */
  function tentTaps(start, length, sourceSize, size, beyond) {
    const step = length / size;
    const reach = Math.max(step, 1);
    const count = Math.ceil(2 * reach) + 1;
    const taps = [];
    for (let i = 0; i < size; i++) {
      const centre = start + (i + 0.5) * step;
      const first = Math.floor(centre - reach);
      const pixels = [], weights = [];
      let all = 0, inside = 0;
      for (let pixel = first; pixel < first + count; pixel++) {
        const weight = Math.max(1 - Math.abs(pixel + 0.5 - centre) / reach, 0);
        all += weight;
        if (weight > 0 && pixel >= 0 && pixel < sourceSize) {
          pixels.push(pixel);
          weights.push(weight);
          inside += weight;
        }
      }
      const total = beyond === "nothing" ? inside : all;
      taps.push({ pixels, weights: weights.map((weight) => weight / total) });
    }
    return taps;
  }

  /** Resample `channels` numbers per pixel, rows first. pixel(x, y, out) writes those of one source pixel. */
  function resample(pixel, channels, rows, columns) {
    const used = columns.flatMap((tap) => tap.pixels);
    const left = used.reduce((a, b) => Math.min(a, b), Infinity);
    const right = used.reduce((a, b) => Math.max(a, b), -1);
    const width = Math.max(right - left + 1, 0);
    const result = new Float32Array(rows.length * columns.length * channels);
    const line = new Float64Array(width * channels);
    const one = new Float64Array(channels);
    rows.forEach((row, i) => {
      line.fill(0);
      row.pixels.forEach((y, k) => {
        for (let x = 0; x < width; x++) {
          pixel(left + x, y, one);
          for (let c = 0; c < channels; c++) line[x * channels + c] += row.weights[k] * one[c];
        }
      });
      columns.forEach((column, j) => {
        column.pixels.forEach((x, k) => {
          for (let c = 0; c < channels; c++) {
            result[(i * columns.length + j) * channels + c] += column.weights[k] * line[(x - left) * channels + c];
          }
        });
      });
    });
    return result;
  }

  /** The square about the object, with a margin; null where there is none. See `object_box`. */
  function objectBox(mask, width, height, padding) {
    let left = width, right = 0, top = height, bottom = 0;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (mask[y * width + x] > 0.5) {
          left = Math.min(left, x);
          right = Math.max(right, x + 1);
          top = Math.min(top, y);
          bottom = Math.max(bottom, y + 1);
        }
      }
    }
    if (right === 0) return null;
    const side = Math.max(right - left, bottom - top) * (1 + 2 * padding);
    return { left: (left + right - side) / 2, top: (top + bottom - side) / 2, side };
  }

  /** What the model sees: the object cut out, RGB over the background and the coverage. See `photo_input`.
   * data: of the training run: image_size, crop_padding, background, input_masked. */
  function modelInput(photo, mask, box, data, size = data.image_size) {
    const { width, height, rgba } = photo;
    const rows = tentTaps(box.top, box.side, height, size, "clear");
    const columns = tentTaps(box.left, box.side, width, size, "clear");
    const square = resample((x, y, out) => {
      const at = y * width + x;
      const alpha = mask[at];
      for (let c = 0; c < 3; c++) out[c] = (rgba[4 * at + c] / 255) * alpha;
      out[3] = alpha;
    }, 4, rows, columns);
    for (let at = 0; at < square.length; at += 4) {
      const alpha = square[at + 3];
      for (let c = 0; c < 3; c++) square[at + c] = clip(square[at + c] + (1 - alpha) * data.background[c]);
      square[at + 3] = clip(alpha);
    }
    return square;
  }

  /** What the mask network sees, [1, 3, side, side]. See `SalientObject`. */
  function saliencyInput(photo, side) {
    const { width, height, rgba } = photo;
    const taps = [tentTaps(0, height, height, side, "nothing"), tentTaps(0, width, width, side, "nothing")];
    const small = resample((x, y, out) => {
      for (let c = 0; c < 3; c++) out[c] = rgba[4 * (y * width + x) + c];
    }, 3, ...taps).map(Math.round);
    const most = Math.max(small.reduce((a, b) => Math.max(a, b), 0), 1e-6);
    const input = new Float32Array(3 * side * side);
    for (let at = 0; at < side * side; at++) {
      for (let c = 0; c < 3; c++) input[c * side * side + at] = (small[3 * at + c] / most - MEAN[c]) / STD[c];
    }
    return input;
  }

  /** The network's answer as a mask of the photograph's size. */
  function saliencyMask(answer, side, width, height) {
    const logits = answer.some((value) => value < 0 || value > 1);
    const found = logits ? answer.map((value) => 1 / (1 + Math.exp(-value))) : answer;
    const rows = tentTaps(0, side, side, height, "nothing");
    const columns = tentTaps(0, side, side, width, "nothing");
    return resample((x, y, out) => { out[0] = found[y * side + x]; }, 1, rows, columns).map(clip);
  }

  /** Why a mask of the network is not to be trusted, or "". */
  function doubt(mask) {
    let object = 0, wide = 0, narrow = 0;
    for (const value of mask) {
      object += value > 0.5;
      wide += value > 0.3;
      narrow += value > 0.7;
    }
    const share = object / mask.length;
    if (share <= SHARES[0] || share >= SHARES[1]) {
      return `The mask that was found covers ${(100 * share).toFixed(1)} % of the picture, which is no object.`;
    }
    return narrow < STABLE_IOU * wide ? "The mask that was found is a guess: its outline is nowhere clear." : "";
  }

  /** Connected parts of what holds: {labels, sizes}; labels are 0 where nothing holds, sizes[0] is 0. */
  function parts(holds, width, height, corners) {
    const labels = new Int32Array(width * height);
    const sizes = [0];
    const stack = [];
    for (let start = 0; start < labels.length; start++) {
      if (labels[start] || !holds(start)) continue;
      const label = sizes.length;
      sizes.push(0);
      labels[start] = label;
      stack.push(start);
      while (stack.length) {
        const at = stack.pop();
        sizes[label]++;
        const x = at % width, y = (at - x) / width;
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            if (!corners && dx && dy) continue;
            const nx = x + dx, ny = y + dy, next = ny * width + nx;
            if (nx < 0 || ny < 0 || nx >= width || ny >= height || labels[next] || !holds(next)) continue;
            labels[next] = label;
            stack.push(next);
          }
        }
      }
    }
    return { labels, sizes };
  }

  /** Whether the alpha channel tells an object from its surroundings. See `is_cut_out`. */
  function isCutOut(photo) {
    const { width, height, rgba } = photo;
    const { labels, sizes } = parts((at) => rgba[4 * at + 3] <= 127, width, height, false);
    const outside = new Set();
    for (let x = 0; x < width; x++) outside.add(labels[x]).add(labels[(height - 1) * width + x]);
    for (let y = 0; y < height; y++) outside.add(labels[y * width]).add(labels[y * width + width - 1]);
    outside.delete(0);
    let clear = 0;
    for (const label of outside) clear += sizes[label];
    return clear < width * height && clear >= CUT_OUT_SHARE * width * height;
  }

  /** The mask of the largest object alone, and how many others there are. See `without_strays` and `objects_of`. */
  function largestObject(mask, width, height) {
    const { labels, sizes } = parts((at) => mask[at] > 0.5, width, height, true);
    const most = sizes.reduce((a, b) => Math.max(a, b), 0);
    const others = sizes.filter((size) => size >= OBJECT_SHARE * most).length - 1;
    if (sizes.length <= 2) return { mask, others: 0 };
    const main = sizes.indexOf(most);
    const kept = sizes.map((size, label) =>
      label === main || (label > 0 && size >= STRAY_SHARE * most && size < OBJECT_SHARE * most));
    const result = new Float32Array(mask.length);
    const near = 2;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        let keep = kept[labels[at]];
        // The soft border of what is kept.
        for (let dy = -near; dy <= near && !keep && !labels[at]; dy++) {
          for (let dx = -near; dx <= near && !keep; dx++) {
            const nx = x + dx, ny = y + dy;
            keep = nx >= 0 && ny >= 0 && nx < width && ny < height && kept[labels[ny * width + nx]];
          }
        }
        if (keep) result[at] = mask[at];
      }
    }
    return { mask: result, others: Math.max(others, 0) };
  }

  function clip(value) {
    return Math.min(Math.max(value, 0), 1);
  }

  return { doubt, isCutOut, largestObject, modelInput, objectBox, saliencyInput, saliencyMask };
})();
