// Makes KTX2 files with Basis Universal's encoder, and reads them with the transcoder that three.js brings:
//
//     node ktx2.mjs PACKAGES JOBS
//
// PACKAGES: the folder of npm's packages. JOBS: a JSON list; each has `file`, a KTX2 file; to make it also `from`, raw RGBA of
// `width` x `height`, and `options` of the encoder; and with `to`, where its texels go as raw RGBA. What cannot be read leaves no
// file there.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import vm from 'node:vm';

const [packages, jobs] = process.argv.slice(2);
const { encodeToKTX2 } = await import(path.resolve(packages, 'ktx2-encoder/dist/node/index.js'));

async function transcoder() {
    const folder = path.join(packages, 'three/examples/jsm/libs/basis');
    const module = { exports: {} };
    const source = fs.readFileSync(path.join(folder, 'basis_transcoder.js'), 'utf8');
    const require = createRequire(import.meta.url);
    vm.runInThisContext(`(function (module, exports, require, __dirname, __filename) {${source}\n})`)(
        module, module.exports, require, folder, path.join(folder, 'basis_transcoder.js'));
    const found = await module.exports({ wasmBinary: fs.readFileSync(path.join(folder, 'basis_transcoder.wasm')) });
    found.initializeBasis();
    return found;
}

const RGBA = 13; // the transcoder's name for it
const basis = await transcoder();

function texels(data) {
    const file = new basis.KTX2File(new Uint8Array(data));
    try {
        if (!file.isValid() || !file.startTranscoding()) return null;
        const found = new Uint8Array(file.getImageTranscodedSizeInBytes(0, 0, 0, RGBA));
        return file.transcodeImage(found, 0, 0, 0, RGBA, 0, -1, -1) ? found : null;
    } finally {
        file.close();
        file.delete();
    }
}

for (const job of JSON.parse(fs.readFileSync(jobs))) {
    if (job.from) {
        const data = fs.readFileSync(job.from);
        const imageDecoder = async () => ({ data: new Uint8Array(data), width: job.width, height: job.height });
        fs.writeFileSync(job.file, await encodeToKTX2(new Uint8Array(data), { ...job.options, imageDecoder }));
    }
    const found = job.to && texels(fs.readFileSync(job.file));
    if (found) fs.writeFileSync(job.to, found);
}
