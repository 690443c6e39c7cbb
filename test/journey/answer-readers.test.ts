import { expect, test } from 'vitest'
import { openStream } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'

/** SPEC 1.7: a slow reader slows the upstream; one that reads nothing is cut. */

const deltas = 10_000
const cost = 10n * 2000n + 5000n * 10_000n

/** More than all the buffers between an upstream and a client take, the system's own included. */
function largeStream(): string {
  const event = (type: string, fields: object) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`
  const response = { id: 'resp_1', object: 'response', model: 'sim', output: [] }
  const delta = 'water '.repeat(700)
  const events = [event('response.created', { sequence_number: 0, response: { ...response, status: 'in_progress' } })]
  for (let n = 1; n <= deltas; n++) events.push(event('response.output_text.delta', { sequence_number: n, delta }))
  const done = { ...response, status: 'completed', usage: { input_tokens: 10, output_tokens: 5000 } }
  return [...events, event('response.completed', { sequence_number: deltas + 1, response: done })].join('')
}

async function largeWorld(stalledReaderMs = 60_000): Promise<World & { readonly bytes: string }> {
  const world = await openWorld({ balance: '1000', settings: { stalledReaderMs } })
  const bytes = largeStream()
  world.sim.script({}, { rawBody: bytes, headers: { 'content-type': 'text/event-stream' }, chunkBytes: 65_536 })
  return { ...world, bytes }
}

const isRunning = ({ sim }: World) => sim.invoice[0]?.ended === 'running'

test('while a client does not read, its upstream waits; then it gets everything', async () => {
  await using world = await largeWorld()
  await using stream = openStream(world)
  await stream.until('response.created')
  stream.pause()
  const before = process.memoryUsage().arrayBuffers
  await new Promise(resolve => setTimeout(resolve, 1000)) // Nothing is to happen, so there is nothing to wait for.
  expect(isRunning(world)).toBe(true)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024)
  stream.resume()
  await stream.rest()
  expect(stream.text === world.bytes).toBe(true) // Compared whole, a difference would print it all.
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ ended: 'completed', basis: 'reported', cost })
})

test('a client that reads nothing for too long is cut, and what it asked for is drained', async () => {
  await using world = await largeWorld(200)
  await using stream = openStream(world)
  await stream.until('response.created')
  stream.pause()
  await until(() => world.headgate.serving.calls.count === 0, 'the reader is not cut')
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ ended: 'client_left', basis: 'drained', cost })
  stream.resume()
  await expect(stream.rest()).rejects.toThrow()
  expect(stream.text).not.toContain('response.completed')
})

test('a client that reads slowly, but reads, is not cut', async () => {
  await using world = await largeWorld(1500)
  await using stream = openStream(world)
  const startedMs = performance.now()
  let events = 0
  for (; performance.now() - startedMs < 2500; events++) {
    await stream.next()
    if (events % 200 !== 0) continue
    stream.pause()
    await new Promise(resolve => setTimeout(resolve, 100))
    stream.resume()
  }
  const rest = await stream.rest()
  expect(events + rest.length).toBe(deltas + 2)
  await world.quiet()
  expect((await world.rows())[0]).toMatchObject({ ended: 'completed', cost })
})
