/** Every image that others make is pinned by its digest and can be given with another, and OPERATIONS says how. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const OPERATIONS = read('docs/OPERATIONS.md');

test('the Dockerfile builds on one image, which is an argument with a version and its digest as its default', () => {
  const text = read('Dockerfile');
  const [, name] = /^ARG (\w+)=[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$/m.exec(text)!;
  const bases = [...text.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base);
  expect(bases).toEqual([`\${${name}}`, `\${${name}}`, `\${${name}}`]);
  // Before the first stage, or no stage could use it.
  expect(text.indexOf('ARG ')).toBeLessThan(text.indexOf('FROM '));
  expect(OPERATIONS).toContain(`--build-arg ${name}=`);
});

test.each([
  ['docker-compose.yml', 3],
  ['docker-compose.postgres.yml', 2],
])('%s names every image of others by its digest, and a variable can name another', (file, count) => {
  const compose = read(file);
  const images = [...compose.matchAll(/^ +(?:image|NODE_IMAGE): (.+)$/gm)].map(([, image]) => image!);
  const given = images.filter((image) => image !== 'weir');
  expect(given).toHaveLength(count);
  for (const image of given) {
    const [, name] = /^\$\{(WEIR_\w+_IMAGE):-[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}\}$/.exec(image) ?? [];
    expect(name, image).toBeDefined();
    expect(OPERATIONS).toContain(`\`${name}\``);
  }
  // Both files build on the same one.
  expect(compose).toContain(/^ARG NODE_IMAGE=(.+)$/m.exec(read('Dockerfile'))![1]);
});

test('docker-compose.kafka.yml has the images of docker-compose.yml, and a broker that a variable can exchange', () => {
  const imagesOf = (file: string) => [...read(file).matchAll(/\$\{(WEIR_\w+_IMAGE):-([^}]+)\}/g)];
  const pinned = imagesOf('docker-compose.yml').map(([whole]) => whole);
  const used = imagesOf('docker-compose.kafka.yml');
  expect(used.map(([whole]) => whole)).toEqual(expect.arrayContaining(pinned));
  for (const [, name] of used) expect(OPERATIONS).toContain(`\`${name}\``);
  expect(used.map(([, name]) => name)).toContain('WEIR_KAFKA_IMAGE');
  expect(used).toHaveLength(pinned.length + 1);
});
