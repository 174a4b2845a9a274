// The camera from which the mesh covers the mask best: what ast_jax/reconstruction/fit.py does, without derivatives.
// A mesh is {vertices, faces}, flat arrays; a camera {rotation (9), translation (3), focal (2), principal (2)}, see
// render.PerspectiveCamera.
globalThis.AstCamera = (() => {
  "use strict";

  // Turn about three axes (rad), distance and focal length (log), principal point (NDC): the first moves that are tried,
  // and the share of them at which the search ends.
  const MOVES = [0.2, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05];
  const LAST = 0.03;
  const SHRINK = 0.6;
  const SECTORS = 8; // where a search all around starts

  /** x, y in pixels of a square of that size and depth of every vertex, flat. */
  function project(vertices, camera, size) {
    const { rotation: r, translation: t, focal, principal } = camera;
    const points = new Float64Array(vertices.length);
    for (let at = 0; at < vertices.length; at += 3) {
      const [x, y, z] = [vertices[at], vertices[at + 1], vertices[at + 2]];
      const depth = -(r[6] * x + r[7] * y + r[8] * z + t[2]);
      const ndcX = (focal[0] * (r[0] * x + r[1] * y + r[2] * z + t[0])) / depth + principal[0];
      const ndcY = (focal[1] * (r[3] * x + r[4] * y + r[5] * z + t[1])) / depth + principal[1];
      points[at] = ((1 + ndcX) / 2) * size;
      points[at + 1] = ((1 - ndcY) / 2) * size;
      points[at + 2] = depth;
    }
    return points;
  }

  /** Calls visit(pixel, depth) for every pixel centre inside of every face. */
  function eachPixel(points, faces, size, visit) {
    for (let face = 0; face < faces.length; face += 3) {
      const [a, b, c] = [3 * faces[face], 3 * faces[face + 1], 3 * faces[face + 2]];
      const [ax, ay, bx, by, cx, cy] = [points[a], points[a + 1], points[b], points[b + 1], points[c], points[c + 1]];
      const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
      if (area === 0) continue;
      const left = Math.max(Math.ceil(Math.min(ax, bx, cx) - 0.5), 0);
      const right = Math.min(Math.floor(Math.max(ax, bx, cx) - 0.5), size - 1);
      const top = Math.max(Math.ceil(Math.min(ay, by, cy) - 0.5), 0);
      const bottom = Math.min(Math.floor(Math.max(ay, by, cy) - 0.5), size - 1);
      for (let row = top; row <= bottom; row++) {
        for (let column = left; column <= right; column++) {
          const x = column + 0.5, y = row + 0.5;
          const wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area;
          const wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area;
          const wc = 1 - wa - wb;
          if (wa < 0 || wb < 0 || wc < 0) continue;
          visit(row * size + column, 1 / (wa / points[a + 2] + wb / points[b + 2] + wc / points[c + 2]));
        }
      }
    }
  }

  /** 1 where the mesh is seen. */
  function silhouette(mesh, camera, size) {
    const drawn = new Uint8Array(size * size);
    eachPixel(project(mesh.vertices, camera, size), mesh.faces, size, (pixel) => { drawn[pixel] = 1; });
    return drawn;
  }

  /** Depth of the nearest face of each pixel, infinite where there is none. */
  function depths(mesh, camera, size) {
    const nearest = new Float64Array(size * size).fill(Infinity);
    eachPixel(project(mesh.vertices, camera, size), mesh.faces, size, (pixel, depth) => {
      nearest[pixel] = Math.min(nearest[pixel], depth);
    });
    return nearest;
  }

  /** Intersection over union of the silhouette with a mask of size x size numbers. */
  function overlap(mesh, camera, mask, size) {
    const drawn = silhouette(mesh, camera, size);
    let both = 0, either = 0;
    for (let pixel = 0; pixel < drawn.length; pixel++) {
      const wanted = mask[pixel] > 0.5;
      both += drawn[pixel] && wanted;
      either += drawn[pixel] || wanted;
    }
    return both / Math.max(either, 1);
  }

  /** Scale and shift the picture until the object fills the bounding box of the mask. See `align_to_mask`. */
  function aligned(mesh, camera, mask, size) {
    const points = project(mesh.vertices, camera, 2);
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let at = 0; at < points.length; at += 3) {
      const ndc = [points[at] - 1, 1 - points[at + 1]];
      for (let k = 0; k < 2; k++) {
        low[k] = Math.min(low[k], ndc[k]);
        high[k] = Math.max(high[k], ndc[k]);
      }
    }
    const wanted = maskBox(mask, size);
    const ratio = [0, 1].map((k) => (wanted.high[k] - wanted.low[k]) / Math.max(high[k] - low[k], 1e-6));
    const scale = Math.sqrt(ratio[0] * ratio[1]);
    return {
      ...camera,
      focal: camera.focal.map((value) => value * scale),
      principal: [0, 1].map((k) =>
        scale * (camera.principal[k] - (low[k] + high[k]) / 2) + (wanted.low[k] + wanted.high[k]) / 2),
    };
  }

  function maskBox(mask, size) {
    let left = size, right = 0, top = size, bottom = 0;
    for (let pixel = 0; pixel < mask.length; pixel++) {
      if (mask[pixel] <= 0.5) continue;
      const x = pixel % size, y = (pixel - x) / size;
      [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x + 1), Math.min(top, y), Math.max(bottom, y + 1)];
    }
    return { low: [(2 * left) / size - 1, 1 - (2 * bottom) / size], high: [(2 * right) / size - 1, 1 - (2 * top) / size] };
  }

  /** The camera turned, moved along its axis at constant size, zoomed and shifted. See `_moved`. */
  function moved(camera, change) {
    const [x, y, z] = change.slice(0, 3).map((value) => value / 2);
    const n = 1 + x * x + y * y + z * z;
    const turn = [
      1 - (2 * (y * y + z * z)) / n, (2 * (x * y - z)) / n, (2 * (x * z + y)) / n,
      (2 * (x * y + z)) / n, 1 - (2 * (x * x + z * z)) / n, (2 * (y * z - x)) / n,
      (2 * (x * z - y)) / n, (2 * (y * z + x)) / n, 1 - (2 * (x * x + y * y)) / n,
    ];
    const rotation = [];
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        rotation.push([0, 1, 2].reduce((sum, k) => sum + turn[3 * i + k] * camera.rotation[3 * k + j], 0));
      }
    }
    const dolly = Math.exp(change[3]);
    return {
      rotation,
      translation: camera.translation.map((value) => value * dolly),
      focal: camera.focal.map((value) => value * dolly * Math.exp(change[4])),
      principal: [camera.principal[0] + change[5], camera.principal[1] + change[6]],
    };
  }

  /** The camera moved, one way after the other and ever less, as long as the overlap with the mask grows. */
  function fit(mesh, start, mask, size) {
    let camera = start, best = overlap(mesh, start, mask, size);
    const first = aligned(mesh, start, mask, size);
    const score = overlap(mesh, first, mask, size);
    if (score >= best) [camera, best] = [first, score];
    for (let share = 1; share > LAST; share *= SHRINK) {
      for (let better = true, rounds = 0; better && rounds < 4; rounds++) {
        better = false;
        for (let k = 0; k < MOVES.length; k++) {
          for (const sign of [1, -1]) {
            const change = MOVES.map((move, i) => (i === k ? sign * share * move : 0));
            const tried = moved(camera, change);
            const found = overlap(mesh, tried, mask, size);
            if (found > best) {
              [camera, best, better] = [tried, found, true];
              break;
            }
          }
        }
      }
    }
    return { camera, overlap: best };
  }

  /** The best of the fits from all around: the camera goes about the object's upright axis. */
  function search(mesh, start, mask, size) {
    let best = fit(mesh, start, mask, size);
    for (let k = 1; k < SECTORS; k++) {
      const [cos, sin] = [Math.cos((2 * Math.PI * k) / SECTORS), Math.sin((2 * Math.PI * k) / SECTORS)];
      const r = start.rotation;
      const rotation = [0, 3, 6].flatMap((at) => [
        r[at] * cos - r[at + 2] * sin, r[at + 1], r[at] * sin + r[at + 2] * cos,
      ]);
      const found = fit(mesh, { ...start, rotation }, mask, size);
      if (found.overlap > best.overlap) best = found;
    }
    return best;
  }

  return { depths, fit, overlap, project, search, silhouette };
})();
