import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { gauge, openWorld } from '../world.ts'
import { headOf } from './raw-client.ts'
import { longStreamCost, type Stalled } from './stalled.ts'

/** T16: clients that read nothing cost little, are cut, and pay for what they asked for. */

const readers = process.env.HEADGATE_TEST_FULL ? 1_000 : 200
/**
 * What a call holds in memory, with all that belongs to it. What is queued for the reader is below 64 KiB, but each queued event is a
 * part of a piece of 64 KiB that the upstream's socket gave, and keeps all of it: two such pieces on the way to the reader, two in
 * the upstream's socket, one under the first event and one under an unfinished one. The promise of 64 KiB in all is not kept.
 */
const bytesPerReader = 512 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** A minute that lasts until the test says that it is over: a busy machine takes long to bring so many to a stop. */
function heldMinute(): { readonly clock: Clock; over(): void } {
  const waiting = new Set<() => void>()
  const clock: Clock = {
    ...systemClock,
    after(ms, then) {
      if (ms !== stalledReaderMs) return systemClock.after(ms, then)
      waiting.add(then)
      return { restart: () => void waiting.add(then), [Symbol.dispose]: () => void waiting.delete(then) }
    },
  }
  return {
    clock,
    over() {
      for (const then of [...waiting]) then()
    },
  }
}

/** The default, and no other wait of a gateway is as long. */
const stalledReaderMs = 60_000

/** Of this thread: upstream and clients are on another. */
async function bytesHeld(): Promise<number> {
  // What the first collection let go of only then lets go of its buffers.
  for (let turn = 0; turn < 3; turn += 1) {
    collectGarbage()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test(`T16: ${readers} stalled readers hold a bounded amount each, and are cut and billed`, { timeout: 300_000 }, async () => {
  const worker = new Worker(new URL('./stalled-worker.ts', import.meta.url))
  const [port] = (await once(worker, 'message')) as [number]
  const minute = heldMinute()
  await using world = await openWorld({
    accounts: [{ concurrency: 0, baseUrl: `http://127.0.0.1:${port}/v1` }],
    user: { concurrency: readers },
    balance: '1000000',
    settings: { stalledReaderMs, drainsMax: readers, drainMs: 120_000, booksTimeoutMs: 50_000, settleWithinMs: 50_000 },
    adapters: { clock: minute.clock },
  })
  const body = JSON.stringify({ model: 'sim', input: 'a long answer', stream: true, max_output_tokens: 10_000 })
  const asked: Stalled = { url: world.url, head: headOf(world, { 'content-length': String(body.length) }) + body, readers }
  const before = await bytesHeld()
  worker.postMessage(asked)
  await once(worker, 'message')
  expect(await gauge(world, 'headgate_calls_running')).toBe(readers)
  const each = ((await bytesHeld()) - before) / readers
  console.log(`${readers} stalled readers hold ${(each / 1024).toFixed(1)} KiB each`)
  expect(each).toBeLessThan(bytesPerReader)

  minute.over()
  while ((await gauge(world, 'headgate_calls_running')) > 0 || world.headgate.gateway.drain.count > 0)
    await new Promise(resolve => setTimeout(resolve, 100))
  await world.quiet()
  const rows = await world.rows()
  expect(rows).toHaveLength(readers)
  for (const row of rows) expect(row).toMatchObject({ ended: 'client_left', basis: 'drained', cost: longStreamCost, uncollected: 0n })
  await worker.terminate()
})
