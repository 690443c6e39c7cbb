import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { between, oneOf } from '../chance.ts'

/** Requests as nobody would make them, and as everybody does, each made of chance alone. */

export type Chance = () => number

export interface Generated {
  readonly method: string
  /** With its query string. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Written to the socket as it is, instead of the rest. */
  readonly raw?: Buffer
}

export function requestFrom(chance: Chance, key: string): Generated {
  const path = pathFrom(chance)
  const written = bodyFrom(chance, path)
  const { body, encoding } = encoded(chance, written)
  const headers = { ...headersFrom(chance, key), ...encoding }
  const method = chance() < 0.8 ? 'POST' : oneOf(chance, methods)
  const made = { method, path, headers, body }
  return chance() < 0.08 ? { ...made, raw: rawFrom(chance, made) } : made
}

const methods = [
  'GET',
  'GET',
  'GET',
  'HEAD',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'SEARCH',
  'PURGE',
  'M-SEARCH',
  'POST',
]
const bases = [...Array<string>(12).fill('/v1'), '/openai/v1', '', '/v2', '//v1', '/V1']
const served = ['/responses', '/chat/completions', '/embeddings']
const ends = [
  ...[
    '/responses',
    '/responses',
    '/responses',
    '/chat/completions',
    '/chat/completions',
    '/chat/completions',
    '/embeddings',
    '/embeddings',
  ],
  ...['/models', '/models/sim', '/models/%zz', '/models/%00', '/models/', '/usage', '/credits', '/nope', '/', '', '/responses/'],
  ...['/responses/resp_1', '/responses/resp_1/cancel', '/responses/resp_1/input_items', '/responses/compact', '/responses/input_tokens'],
  ...[
    '/conversations',
    '/conversations/conv_1',
    '/conversations/conv_1/items',
    '/conversations/conv_1/items/msg_1',
    '/..%2fadmin',
    '/%2e%2e/',
  ],
  ...['/responses/%F0%9F', `/responses/${'x'.repeat(3_000)}`, '/__proto__', '/constructor', '/responses;a=b', '/files', '/batches'],
]
const queries = [
  '',
  '',
  '',
  '',
  '?',
  '?a=b&a=c',
  '?%',
  '?limit=-1',
  '?since=yesterday',
  '?limit=1e9&after=%00',
  '?client_version=0',
  '?stream=true',
]

function pathFrom(chance: Chance): string {
  const path = oneOf(chance, bases) + oneOf(chance, chance() < 0.6 ? served : ends)
  const query = chance() < 0.03 ? oneOf(chance, ['?key=sk-1', '?api_key=', `?q=${'y'.repeat(4_000)}`]) : oneOf(chance, queries)
  return `${path.startsWith('/') ? path : '/'}${query}`
}

function headersFrom(chance: Chance, key: string): Record<string, string> {
  const headers: Record<string, string> = {}
  if (chance() < 0.93) headers.authorization = `Bearer ${key}`
  else Object.assign(headers, oneOf(chance, [{ 'x-api-key': key }, { authorization: key }, { authorization: 'Bearer sk-hg-nobody' }, {}]))
  for (let n = chance() < 0.5 ? 0 : between(chance, 1, 3); n > 0; n -= 1) Object.assign(headers, oneOf(chance, strange))
  return headers
}

const strange: readonly Readonly<Record<string, string>>[] = [
  { 'content-type': 'text/plain' },
  { 'content-type': 'multipart/form-data; boundary=x' },
  { accept: 'text/event-stream' },
  { 'accept-encoding': 'gzip, br, zstd' },
  { expect: '100-continue' },
  { expect: 'nothing' },
  { 'transfer-encoding': 'chunked' },
  { connection: 'close' },
  { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==', 'sec-websocket-version': '13' },
  { upgrade: 'h2c' },
  { session_id: 'é'.normalize('NFD').replace(/[^\x20-\x7e]/g, '') },
  { 'x-session-affinity': 'x'.repeat(5_000) },
  { 'x-forwarded-for': '::1, 10.0.0.1, nonsense' },
  { 'user-agent': 'codex_exec/0.169.0' },
  { 'user-agent': '' },
  { 'x-stainless-retry-count': '-1' },
  { 'openai-beta': 'responses_multi_agent=v1' },
  { traceparent: 'zz' },
  { 'x-request-id': 'mine' },
  { 'x-large': 'z'.repeat(20_000) },
  { 'x-larger': 'z'.repeat(40_000) },
  { te: 'trailers' },
]

// Bodies ---------------------------------------------------------------------------------------------------------------

type Value = string | number | boolean | null | readonly Value[] | { readonly [name: string]: Value }

function bodyFrom(chance: Chance, path: string): Buffer {
  const good = Buffer.from(JSON.stringify(goodBody(chance, path)))
  const kind = chance()
  if (kind < 0.3) return good
  if (kind < 0.55) return Buffer.from(JSON.stringify({ ...goodBody(chance, path), ...fieldsFrom(chance) }))
  if (kind < 0.75) return mutated(chance, good)
  return oneOf(chance, odd)(chance)
}

function goodBody(chance: Chance, path: string): { readonly [name: string]: Value } {
  const more: { [name: string]: Value } = chance() < 0.4 ? { stream: true } : {}
  if (path.includes('chat')) return { model: 'sim', messages: [{ role: 'user', content: 'hello' }], ...more }
  return { model: oneOf(chance, ['sim', 'sim', 'fast']), input: 'hello', ...more }
}

const names = [
  ...['model', 'stream', 'input', 'messages', 'instructions', 'max_output_tokens', 'max_tokens', 'max_completion_tokens', 'n', 'tools'],
  ...[
    'previous_response_id',
    'conversation',
    'prompt_cache_key',
    'safety_identifier',
    'service_tier',
    'store',
    'background',
    'stream_options',
  ],
  ...[
    'dimensions',
    'encoding_format',
    'prompt',
    'include',
    'metadata',
    'prompt_cache_options',
    'web_search_options',
    '__proto__',
    'toString',
    '',
  ],
]

function fieldsFrom(chance: Chance): { readonly [name: string]: Value } {
  return Object.fromEntries(Array.from({ length: between(chance, 1, 4) }, () => [oneOf(chance, names), valueFrom(chance, 3)]))
}

const words = [
  'sim',
  'auto',
  'priority',
  'resp_1',
  'conv_1',
  'msg_1',
  'item_reference',
  'function_call_output',
  'input_file',
  ' ',
  '',
  '\u0000',
  '\ud800',
  'é🌊',
]
const numbers = [0, -0, -1, 1, 1.5, 128, 1e9, 2 ** 53, 1e308, -1e-300, 16]
const types = ['type', 'id', 'call_id', 'role', 'content', 'text', 'output', 'file_id', 'image_url', 'include_usage', 'detail', 'arguments']

function valueFrom(chance: Chance, depth: number): Value {
  const kind = depth === 0 ? chance() * 0.6 : chance()
  if (kind < 0.3) return oneOf(chance, words)
  if (kind < 0.45) return oneOf(chance, numbers)
  if (kind < 0.6) return oneOf(chance, [true, false, null])
  if (kind < 0.8) return Array.from({ length: between(chance, 0, 4) }, () => valueFrom(chance, depth - 1))
  return Object.fromEntries(Array.from({ length: between(chance, 0, 4) }, () => [oneOf(chance, types), valueFrom(chance, depth - 1)]))
}

function mutated(chance: Chance, good: Buffer): Buffer {
  const bytes = Buffer.from(good)
  for (let n = between(chance, 1, 4); n > 0; n -= 1) bytes[between(chance, 0, bytes.length - 1)] = between(chance, 0, 255)
  return chance() < 0.5 ? bytes : bytes.subarray(0, between(chance, 0, bytes.length))
}

const odd: readonly ((chance: Chance) => Buffer)[] = [
  () => Buffer.alloc(0),
  () => Buffer.from(' \r\n\t'),
  () => Buffer.from('null'),
  () => Buffer.from('[{"model":"sim"}]'),
  () => Buffer.from('"model"'),
  () => Buffer.from('\ufeff{"model":"sim","input":"x"}'),
  () => Buffer.from([0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00]),
  () => Buffer.from('{"model":"sim","model":"sim","input":"x"}'),
  () => Buffer.from('{"model":"sim","\\u006dodel":"other","input":"x"}'),
  () => Buffer.from('{"model":"sim","input":"x","x":1e999999,"y":-0.0e-5}'),
  () => Buffer.from('{"model":"sim","input":"x"} {}'),
  () => Buffer.from('{"model":"unlisted","input":"x"}'),
  () => Buffer.from('{"model":"costless","input":"x"}'),
  () => Buffer.from(`{"model":"${'m'.repeat(5_000)}","input":"x"}`),
  chance => Buffer.from(`{"model":"sim","input":${'['.repeat(between(chance, 1, 60_000))}`),
  chance => nested(between(chance, 1, 60_000)),
  chance => Buffer.from(JSON.stringify({ model: 'sim', input: 'y'.repeat(between(chance, 1, 900_000)) })),
  chance => Buffer.alloc(between(chance, 1, 1_500_000), 0x20),
  chance => Buffer.from(Array.from({ length: between(chance, 1, 500) }, () => between(chance, 0, 255))),
  chance =>
    Buffer.from(`{"model":"sim",${Array.from({ length: between(chance, 1, 20_000) }, (_, n) => `"f${n}":${n}`).join()},"input":"x"}`),
  chance => Buffer.from(JSON.stringify({ model: 'sim', input: Array.from({ length: between(chance, 1, 6_000) }, (_, n) => reference(n)) })),
]

function nested(depth: number): Buffer {
  return Buffer.from(`{"model":"sim","input":${'['.repeat(depth)}${']'.repeat(depth)}}`)
}

function reference(n: number): object {
  return { type: 'item_reference', id: `msg_${n}` }
}

const compressions = { gzip: gzipSync, br: brotliCompressSync, zstd: zstdCompressSync, deflate: deflateSync }

function encoded(chance: Chance, body: Buffer): { readonly body: Buffer; readonly encoding: Readonly<Record<string, string>> } {
  if (chance() < 0.8) return { body, encoding: {} }
  const name = oneOf(chance, Object.keys(compressions) as (keyof typeof compressions)[])
  const kind = chance()
  if (kind < 0.5) return { body: compressions[name](body), encoding: { 'content-encoding': name } }
  if (kind < 0.7) return { body: mutated(chance, compressions[name](body)), encoding: { 'content-encoding': name } }
  return { body, encoding: { 'content-encoding': oneOf(chance, ['gzip', 'br', 'zstd', 'identity', 'gzip, br', '*', '', 'GZIP', 'rot13']) } }
}

// Sockets --------------------------------------------------------------------------------------------------------------

/** What no HTTP client would send: broken lines, lengths that lie, several requests in one breath, or nothing but bytes. */
function rawFrom(chance: Chance, { method, path, headers, body }: Generated): Buffer {
  const lines = Object.entries({ host: 'headgate', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = (length: number | string) => `${method} ${path} HTTP/1.1\r\n${lines.join('')}content-length: ${length}\r\n\r\n`
  const whole = Buffer.concat([Buffer.from(head(body.length)), body])
  return oneOf(chance, [
    () => mutated(chance, whole),
    () => Buffer.concat([Buffer.from(head(body.length + 10)), body]),
    () => Buffer.concat([Buffer.from(head('-1')), body]),
    () => Buffer.concat([Buffer.from(head('1e3')), body]),
    () => Buffer.concat([whole, whole]),
    () => whole.subarray(0, between(chance, 0, whole.length)),
    () => Buffer.from(`${method} ${path} HTTP/9.9\r\n\r\n`),
    () => Buffer.from(`CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n`),
    () => Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}transfer-encoding: chunked\r\n\r\nzz\r\n`),
    () => Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join('')}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n`),
    () => Buffer.from(Array.from({ length: between(chance, 1, 200) }, () => between(chance, 0, 255))),
  ])()
}
