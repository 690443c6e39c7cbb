import { expect, test } from 'vitest'
import { imageTokens, pixelsOf } from './image-tokens.ts'
import { sizeOf } from './input-size.ts'

function tokensOf(input: unknown): number {
  const body = { model: 'a', input }
  return sizeOf(body, Buffer.byteLength(JSON.stringify(body))).tokens
}

/** The heads of images of 1920 × 1080, as their formats have them. */
const heads = {
  png: Buffer.concat([Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'), Buffer.from('00000780000004380806000000', 'hex')]),
  gif: Buffer.from('GIF89a\x80\x07\x38\x04', 'latin1'),
  jpeg: Buffer.from('ffd8ffe00010' + '00'.repeat(14) + 'fffffec00008'.slice(0, 2) + 'c4000400ff' + 'ffc2001108' + '04380780' + '03', 'hex'),
  webpLossy: Buffer.from(`RIFF\0\0\0\0WEBPVP8 ${'\0'.repeat(10)}\x80\x07\x38\x04`, 'latin1'),
  webpLossless: Buffer.from(`RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x7f\xc7\x0d\x01`, 'latin1'),
  webpExtended: Buffer.from(`RIFF\0\0\0\0WEBPVP8X${'\0'.repeat(8)}\x7f\x07\0\x37\x04\0`, 'latin1'),
}

/** In base64, with the body of the image behind the head. */
const padded = (head: Buffer) => Buffer.concat([head, Buffer.alloc(3000)]).toString('base64')

test.each(Object.entries(heads))('the size of an image in %s is read from its head', (_, head) => {
  expect(pixelsOf(padded(head))).toEqual({ width: 1920, height: 1080 })
  expect(pixelsOf(`data:image/x;base64,${padded(head)}`, 20)).toEqual({ width: 1920, height: 1080 })
})

test.each([
  ['nothing', ''],
  ['too little', 'AAAA'],
  ['zeros', padded(Buffer.alloc(64))],
  ['a PNG without size', padded(heads.png.subarray(0, 16))],
  ['a JPEG that breaks off', padded(Buffer.from('ffd8ffe0ffff', 'hex'))],
  ['a JPEG without frame', padded(Buffer.from('ffd8ffd9', 'hex'))],
  ['no base64', '!!!'],
])('%s says no size', (_, base64) => {
  expect(pixelsOf(base64)).toBeUndefined()
})

test.each<[unknown, [number, number] | undefined, number]>([
  ['low', undefined, 630],
  ['low', [4000, 4000], 630],
  ['high', undefined, 3779],
  ['high', [10_000, 10_000], 3779],
  ['auto', undefined, 36_000],
  [undefined, undefined, 36_000],
  ['original', [65_535, 65_535], 36_000],
  // 60 × 34 patches at the small models' rate.
  ['auto', [1920, 1080], 3779],
  ['auto', [1280, 720], 2264],
  ['auto', [4096, 4096], 19_661],
  // One tile and its base cost more than one patch.
  ['high', [10, 10], 255],
])('an image of detail %s and %s pixels is at most %i tokens', (detail, size, tokens) => {
  expect(imageTokens(detail, size && { width: size[0], height: size[1] })).toBe(tokens)
})

test('text counts a token for two bytes of the body, rounded up', () => {
  expect(tokensOf('hello there, how are you?')).toBe(25)
  expect(tokensOf('hello there, how are you')).toBe(24)
})

test('text that is denser counts more, wherever in the body it stands', () => {
  const dense = '1 2 3 4 5 6 7 8 9 0 '.repeat(50)
  for (const body of [
    { input: dense },
    { instructions: dense },
    { input: [{ content: [{ text: dense }] }] },
    { tools: [{ description: dense }] },
    { text: { format: { x: dense } } },
  ])
    expect(sizeOf(body, JSON.stringify(body).length).tokens).toBeGreaterThanOrEqual(dense.length)
})

test('an image in base64 counts by its size in pixels, not by its bytes', () => {
  const small = tokensOf([{ type: 'input_image', image_url: `data:image/png;base64,${padded(heads.png)}` }])
  const large = tokensOf([
    { type: 'input_image', image_url: `data:image/png;base64,${padded(Buffer.concat([heads.png, Buffer.alloc(300_000)]))}` },
  ])
  expect(large).toBe(small)
  expect(small - 3779).toBeLessThan(60)
  expect(small).toBeGreaterThanOrEqual(3779)
})

test.each<[string, object, number]>([
  ['an image elsewhere', { type: 'input_image', image_url: 'https://x.example/a.png' }, 36_000],
  ['an image elsewhere in low detail', { type: 'input_image', image_url: 'https://x.example/a.png', detail: 'low' }, 630],
  ['an uploaded image', { type: 'input_image', file_id: 'file-1', detail: 'high' }, 3779],
  [
    'a screenshot',
    { type: 'computer_call_output', output: { type: 'computer_screenshot', image_url: `data:image/png;base64,${padded(heads.png)}` } },
    3779,
  ],
  [
    'a picture in a tool output',
    { type: 'function_call_output', output: [{ type: 'input_image', image_url: `data:;base64,${padded(heads.gif)}` }] },
    3779,
  ],
  ['a picture that the model made', { type: 'image_generation_call', result: padded(heads.png) }, 3779],
  ['an uploaded file', { type: 'input_file', file_id: 'file-1' }, 100_000],
  ['a file elsewhere', { type: 'input_file', file_url: 'https://x.example/a.pdf' }, 100_000],
  [
    'a file of 30,000 bytes',
    { type: 'input_file', file_data: `data:application/pdf;base64,${Buffer.alloc(30_000).toString('base64')}` },
    15_000 + 3779,
  ],
  ['a file of 3 MB', { type: 'input_file', file_data: Buffer.alloc(3_000_000).toString('base64') }, 922_000],
  ['300,000 bytes of audio', { type: 'input_audio', input_audio: { format: 'mp3', data: Buffer.alloc(300_000).toString('base64') } }, 3000],
])('%s counts by its rule, and the JSON around it', (_, item, tokens) => {
  const counted = tokensOf([{ role: 'user', content: [item] }])
  expect(counted).toBeGreaterThanOrEqual(tokens)
  expect(counted).toBeLessThan(tokens + 150)
})

test('base64 that is not where images and files stand is text', () => {
  const base64 = Buffer.alloc(3000, 'hello').toString('base64')
  expect(tokensOf([{ type: 'input_text', text: `data:image/png;base64,${base64}` }])).toBeGreaterThan(base64.length / 2)
  expect(tokensOf([{ type: 'function_call_output', output: base64 }])).toBeGreaterThan(base64.length / 2)
})

test('a payload that is the same text as another member hides neither', () => {
  const source = padded(heads.png)
  const text = sizeOf({ input: { type: 'input_image', image_url: source, text: source } }, 2 * source.length + 60).tokens
  expect(text).toBeGreaterThan(3779 + source.length / 2)
})
