// Loads an object's files with three.js's own loaders and takes views of it, in plain colours, with three.js's own shaders.
//
// Nothing of captionless is used: the bounds, the camera and the order of depth are worked out here. Light is one lamp from
// everywhere, under which a Lambert surface shows its base colour plus what it emits. What is blended is peeled off layer by layer
// (the fragment shaders leave out what is not behind the layer before), since three.js sorts whole objects only.

import * as THREE from 'three';
import { DRACOLoader } from 'three/addons/loaders/DRACOLoader.js';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
import { KTX2Loader } from 'three/addons/loaders/KTX2Loader.js';
import { MTLLoader } from 'three/addons/loaders/MTLLoader.js';
import { OBJLoader } from 'three/addons/loaders/OBJLoader.js';
import { PLYLoader } from 'three/addons/loaders/PLYLoader.js';
import { STLLoader } from 'three/addons/loaders/STLLoader.js';
import { MeshoptDecoder } from 'three/addons/libs/meshopt_decoder.module.js';

const FIELD_OF_VIEW = 20; // degrees
const DISTANCE = 1.02 / Math.sin((FIELD_OF_VIEW / 2) * Math.PI / 180);
const LAYERS = 8;
const GREY = new THREE.Color().setRGB(178 / 255, 178 / 255, 178 / 255, THREE.SRGBColorSpace); // what has no colour of its own
const ADDONS = '/three/examples/jsm/libs/';

const renderer = new THREE.WebGLRenderer({ antialias: false, alpha: true });
// KTX2 becomes plain texels, whatever the machine's own formats are.
const ktx2 = new KTX2Loader().setTranscoderPath(ADDONS + 'basis/').detectSupport(renderer);
for (const name of Object.keys(ktx2.workerConfig)) ktx2.workerConfig[name] = false;
const gltf = new GLTFLoader()
    .setDRACOLoader(new DRACOLoader().setDecoderPath(ADDONS + 'draco/gltf/'))
    .setKTX2Loader(ktx2)
    .setMeshoptDecoder(MeshoptDecoder);

// --- files -> meshes in the coordinates of the world ---------------------------------------------------------------

async function read(url) {
    const kind = url.split('.').pop();
    if (kind === 'glb' || kind === 'gltf') return (await gltf.loadAsync(url)).scene;
    if (kind === 'obj') return wavefront(url);
    if (kind !== 'ply' && kind !== 'stl') throw new Error(`three.js has no loader of ${kind}`);
    const geometry = await new (kind === 'ply' ? PLYLoader : STLLoader)().loadAsync(url);
    const hasColors = Boolean(geometry.attributes.color);
    const color = hasColors ? 0xffffff : GREY;
    return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ color, vertexColors: hasColors }));
}

async function wavefront(url) {
    const folder = url.slice(0, url.lastIndexOf('/') + 1);
    const text = await (await fetch(url)).text();
    const loader = new OBJLoader();
    const libraries = loader.parse(text).materialLibraries ?? [];
    if (libraries.length > 0) {
        const manager = new THREE.LoadingManager();
        const loaded = new Promise((resolve) => { manager.onLoad = resolve; });
        manager.itemStart(url);
        const materials = await new MTLLoader(manager).setPath(folder).loadAsync(libraries[0]);
        materials.preload();
        loader.setMaterials(materials);
        manager.itemEnd(url);
        await loaded;
    }
    const found = loader.parse(text);
    found.traverse((object) => {
        for (const material of [object.material ?? []].flat()) {
            if (libraries.length === 0 && !material.vertexColors) material.color.copy(GREY);
            if (material.map) material.color.set(0xffffff); // docs/meshes.md: Kd does not tint a texture
        }
    });
    return found;
}

// Each primitive and each of its instances, by its positions in the world, in double precision.
function pieces(root) {
    const found = [];
    root.updateMatrixWorld(true);
    root.traverseVisible((object) => {
        if (!object.isMesh) return;
        if (object.isSkinnedMesh) object.skeleton.update();
        const places = [];
        for (let i = 0; i < (object.isInstancedMesh ? object.count : 1); i++) {
            const place = new THREE.Matrix4();
            if (object.isInstancedMesh) object.getMatrixAt(i, place);
            places.push(place.premultiply(object.matrixWorld));
        }
        for (const place of places) {
            const point = new THREE.Vector3();
            const positions = new Float64Array(3 * object.geometry.attributes.position.count);
            for (let v = 0; v < positions.length / 3; v++) {
                object.getVertexPosition(v, point).applyMatrix4(place).toArray(positions, 3 * v);
            }
            found.push(...groups(object, positions));
        }
    });
    return found;
}

function groups(object, positions) {
    const geometry = object.geometry;
    const count = positions.length / 3;
    const index = geometry.index ? Array.from(geometry.index.array) : Array.from({ length: count }, (_, i) => i);
    const parts = Array.isArray(object.material)
        ? geometry.groups.map((g) => [object.material[g.materialIndex], index.slice(g.start, g.start + g.count)])
        : [[object.material, index]];
    return parts.map(([material, faces]) => ({ material, faces, positions, attributes: geometry.attributes }));
}

function isSeen({ material, faces }) {
    return faces.length > 0 && !((material.transparent && material.opacity === 0) || material.opacity < material.alphaTest);
}

// Moves what is seen into the unit sphere about the middle of its box.
function centred(parts) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    const corners = function* () {
        for (const { faces, positions } of parts) for (const v of faces) yield positions.subarray(3 * v, 3 * v + 3);
    };
    for (const p of corners()) {
        for (let k = 0; k < 3; k++) { low[k] = Math.min(low[k], p[k]); high[k] = Math.max(high[k], p[k]); }
    }
    const middle = low.map((value, k) => value / 2 + high[k] / 2);
    let radius = 0;
    for (const p of corners()) radius = Math.max(radius, Math.hypot(...middle.map((m, k) => p[k] - m)));
    for (const part of parts) part.placed = Float32Array.from(part.positions, (x, i) => (x - middle[i % 3]) / radius);
}

// --- meshes -> views -----------------------------------------------------------------------------------------------

const peel = { nearer: { value: null }, opaque: { value: null }, size: { value: 1 } };

// How three.js filters textures is its own matter. With `stored`, levels are filtered as files store them and turned to linear
// light afterwards, as captionless does; without, as three.js has it, which is the other way round.
function filtered(texture, stored) {
    if (!texture) return null;
    const found = texture.isCompressedTexture ? expanded(texture) : texture.clone();
    found.magFilter = THREE.LinearFilter;
    found.minFilter = THREE.LinearMipmapLinearFilter;
    found.generateMipmaps = true;
    if (stored) found.colorSpace = THREE.NoColorSpace;
    found.anisotropy = 1;
    found.needsUpdate = true;
    return found;
}

// A KTX2 texture's largest level, whose smaller copies are then made as those of all other textures.
function expanded(texture) {
    const { data, width, height } = texture.mipmaps[0];
    const found = new THREE.DataTexture(data, width, height);
    for (const name of ['wrapS', 'wrapT', 'rotation', 'channel', 'colorSpace']) found[name] = texture[name];
    for (const name of ['offset', 'repeat', 'center']) found[name].copy(texture[name]);
    return found;
}

function plain(from, stored) {
    const found = new THREE.MeshLambertMaterial({
        color: from.color, opacity: from.opacity, transparent: from.transparent, alphaTest: from.alphaTest,
        vertexColors: from.vertexColors, side: THREE.DoubleSide, map: filtered(from.map, stored),
        alphaMap: from.alphaMap ?? null, emissive: from.emissive ?? 0, emissiveIntensity: from.emissiveIntensity ?? 1,
        emissiveMap: filtered(from.emissiveMap, stored),
    });
    found.defines = {};
    if (stored && found.map) found.defines.DECODE_VIDEO_TEXTURE = '';
    if (stored && found.emissiveMap) found.defines.DECODE_VIDEO_TEXTURE_EMISSIVE = '';
    if (from.transparent) {
        found.blending = THREE.NoBlending;
        found.onBeforeCompile = (shader) => {
            Object.assign(shader.uniforms, { nearer: peel.nearer, opaqueDepth: peel.opaque, size: peel.size });
            shader.fragmentShader = 'uniform sampler2D nearer, opaqueDepth;\nuniform float size;\n' +
                shader.fragmentShader.replace('#include <alphatest_fragment>', `
                    vec2 at = gl_FragCoord.xy / size;
                    if (diffuseColor.a <= 0.0 || gl_FragCoord.z <= texture2D(nearer, at).r ||
                        gl_FragCoord.z > texture2D(opaqueDepth, at).r) discard;
                    #include <alphatest_fragment>`);
        };
    }
    return found;
}

let solid, blended;

async function load(url, stored) {
    const parts = pieces(await read(url)).filter(isSeen);
    if (parts.length === 0) throw new Error('nothing is seen');
    centred(parts);
    solid = new THREE.Scene();
    blended = new THREE.Scene();
    for (const scene of [solid, blended]) scene.add(new THREE.AmbientLight(0xffffff, Math.PI));
    const materials = new Map();
    let faces = 0;
    for (const { material, faces: index, placed, attributes } of parts) {
        const geometry = new THREE.BufferGeometry();
        geometry.setAttribute('position', new THREE.BufferAttribute(placed, 3));
        for (const name of ['uv', 'uv1', 'uv2', 'uv3', 'color']) {
            if (attributes[name]) geometry.setAttribute(name, attributes[name]);
        }
        geometry.setIndex(index);
        faces += Math.floor(index.length / 3);
        if (!materials.has(material)) materials.set(material, plain(material, stored));
        const mesh = new THREE.Mesh(geometry, materials.get(material));
        mesh.frustumCulled = false;
        (material.transparent ? blended : solid).add(mesh);
    }
    return faces;
}

function target(size) {
    const depthTexture = new THREE.DepthTexture(size, size, THREE.FloatType);
    const filters = { minFilter: THREE.NearestFilter, magFilter: THREE.NearestFilter };
    return new THREE.WebGLRenderTarget(size, size, { type: THREE.FloatType, depthTexture, ...filters });
}

function pictured(scene, camera, into) {
    renderer.setRenderTarget(into);
    renderer.setClearColor(0, 0);
    renderer.clear();
    renderer.render(scene, camera);
    const found = new Float32Array(4 * into.width * into.height);
    renderer.readRenderTargetPixels(into, 0, 0, into.width, into.height, found);
    return found;
}

const srgb = (x) => (x <= 0.0031308 ? 12.92 * x : 1.055 * Math.min(x, 1) ** (1 / 2.4) - 0.055);

// What is blended over what is opaque, nearest first; levels of sRGB are blended, as canvases do. Straight alpha, top row first.
function composed(layers, size) {
    const found = new Uint8Array(4 * size * size);
    for (let i = 0; i < size * size; i++) {
        let red = 0, green = 0, blue = 0, through = 1;
        for (const layer of layers) {
            const share = through * Math.min(layer[4 * i + 3], 1);
            if (share === 0) continue;
            red += share * srgb(layer[4 * i]);
            green += share * srgb(layer[4 * i + 1]);
            blue += share * srgb(layer[4 * i + 2]);
            through -= share;
        }
        const at = 4 * ((size - 1 - Math.floor(i / size)) * size + i % size);
        const whole = 255 / (1 - through || 1);
        const color = through < 1 ? [red * whole, green * whole, blue * whole] : [255, 255, 255];
        for (let k = 0; k < 3; k++) found[at + k] = Math.round(color[k]);
        found[at + 3] = Math.round(255 * (1 - through));
    }
    return found;
}

function text(bytes) {
    let found = '';
    for (let i = 0; i < bytes.length; i += 0x8000) found += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return btoa(found);
}

function view(azimuth, elevation, size) {
    const a = azimuth * Math.PI / 180, e = elevation * Math.PI / 180;
    const camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, DISTANCE - 1.01, DISTANCE + 1.01);
    const towards = new THREE.Vector3(Math.sin(a) * Math.cos(e), Math.sin(e), Math.cos(a) * Math.cos(e));
    camera.position.copy(towards).multiplyScalar(DISTANCE);
    camera.lookAt(0, 0, 0);
    const [opaque, ...spare] = [target(size), target(size), target(size)];
    const behind = pictured(solid, camera, opaque);
    const layers = [];
    const nothing = new THREE.DataTexture(new Float32Array(4), 1, 1, THREE.RGBAFormat, THREE.FloatType);
    nothing.needsUpdate = true;
    peel.size.value = size;
    peel.opaque.value = opaque.depthTexture;
    peel.nearer.value = nothing;
    for (let k = 0; k < LAYERS && blended.children.length > 1; k++) {
        const layer = pictured(blended, camera, spare[k % 2]);
        if (!layer.some((value) => value > 0)) break;
        layers.push(layer);
        peel.nearer.value = spare[k % 2].depthTexture;
    }
    const found = composed([...layers, behind], size);
    for (const one of [opaque, ...spare]) one.dispose();
    return text(found);
}

window.judge = {
    load: async (url, stored) => {
        try {
            const faces = await load(url, stored);
            view(0, 0, 8); // what cannot be drawn is found out here
            return { faces };
        } catch (error) {
            return { error: String(error?.message ?? error) };
        }
    },
    view,
};
