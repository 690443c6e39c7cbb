import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { openWorld } from '../world.ts'
import { connectTo, type Dripping, drip, headOf, type RawClient } from './raw-client.ts'

/** The machine is shared, and Node looks for late headers twice a second. */
const slackMs = 3_000

test.concurrent.for([
  ['as set', 300],
  ['by default', 6_000],
] as const)('T17: headers that never end are cut after as long as they may take, %s', async ([, headersTimeoutMs]) => {
  await using world = await openWorld({ settings: headersTimeoutMs === 6_000 ? {} : { headersTimeoutMs } })
  await using client = await connectTo(world)
  client.socket.write('POST /v1/responses HTTP/1.1\r\nhost: headgate\r\n')
  const dripping = drip(client, () => 'x-a: b\r\n', 100)
  const { text, afterMs } = await client.closed
  dripping.stop()
  expect(text).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
  expect(afterMs).toBeGreaterThan(headersTimeoutMs - 50)
  expect(afterMs).toBeLessThan(headersTimeoutMs + slackMs)
  await world.quiet()
})

const limits = { bodyIdleTimeoutMs: 400, bodyRateMin: 1_024 }
const content = Buffer.from(JSON.stringify({ model: 'sim', input: 'words and more words, '.repeat(2_000) }))

const cut: readonly (readonly [string, (client: RawClient) => Dripping])[] = [
  ['that stops', () => ({ stop: () => {} })],
  ['of a byte now and then', client => drip(client, at => content.subarray(at, at + 1), 50)],
  ['of too few bytes each second', client => drip(client, at => content.subarray(at * 40, at * 40 + 40), 50)],
]

test.concurrent.for(cut)('T17: a body %s is cut', async ([, send]) => {
  await using world = await openWorld({ settings: limits })
  await using client = await connectTo(world)
  client.socket.write(headOf(world, { 'content-length': String(content.length) }))
  client.socket.write(content.subarray(0, 10))
  const dripping = send(client)
  const { text, afterMs } = await client.closed
  dripping.stop()
  expect(text).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
  expect(text).toContain('"message":"Failed to read request body"')
  expect(afterMs).toBeGreaterThan(limits.bodyIdleTimeoutMs - 50)
  // Two more seconds are for the client to read why.
  expect(afterMs).toBeLessThan(limits.bodyIdleTimeoutMs + 2_000 + slackMs)
  await world.quiet()
  expect(await world.rows()).toMatchObject([{ ended: 'refused', fault: 'body_unreadable', cost: 0n }])
})

const honest: readonly (readonly [string, Buffer, Record<string, string>])[] = [
  ['plain', content, {}],
  ['packed', gzipSync(content, { level: 0 }), { 'content-encoding': 'gzip' }],
]

test.concurrent.for(honest)('T17: a slow but honest upload is not cut: %s', async ([, body, headers]) => {
  await using world = await openWorld({ settings: limits })
  await using client = await connectTo(world)
  client.socket.write(headOf(world, { ...headers, 'content-length': String(body.length), connection: 'close' }))
  const step = 2_048
  const dripping = drip(client, at => body.subarray(at * step, at * step + step), 100)
  const { text, afterMs } = await client.closed
  dripping.stop()
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(afterMs).toBeGreaterThan(limits.bodyIdleTimeoutMs * 3)
  await world.quiet()
})

const mebibyte = 1024 * 1024

test.skipIf(process.env.HEADGATE_TEST_FULL === undefined)('T17: nor one of 100 MiB, which takes longer than any pause may', async () => {
  await using world = await openWorld({ prices: [{ input: 1n, output: 1n }], balance: '1000' })
  await using client = await connectTo(world)
  const body = Buffer.alloc(100 * mebibyte, 'words and more words, ')
  body.write('{"model":"sim","max_output_tokens":100,"input":"')
  body.write('"}', body.length - 2)
  client.socket.write(headOf(world, { 'content-length': String(body.length), connection: 'close' }))
  const dripping = drip(client, at => body.subarray((at * mebibyte) / 2, ((at + 1) * mebibyte) / 2), 100)
  const { text, afterMs } = await client.closed
  dripping.stop()
  expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  expect(afterMs).toBeGreaterThan(18_000)
  await world.quiet()
})
