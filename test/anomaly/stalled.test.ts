import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/lib/clock.ts'
import { gauge, openWorld, type World } from '../world.ts'
import { headOf } from './raw-client.ts'
import { longStreamCost, type Stalled, type Way, ways } from './stalled.ts'

/** T16: clients that read nothing cost little, are cut, and pay for what they asked for. */

const readers = process.env.HEADGATE_TEST_FULL ? 1_000 : 200
const firstReaders = 50
/** An event of the blasting upstream. */
const eventBytes = 8 * 1024
/** What a call holds in memory, with all that belongs to it: 64 KiB beyond one event. */
const bytesPerReader = 64 * 1024 + eventBytes

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
async function bytesHeld(): Promise<{ heap: number; buffers: number }> {
  // What the first collection let go of only then lets go of its buffers.
  for (let turn = 0; turn < 8; turn += 1) {
    collectGarbage()
    await new Promise(resolve => setImmediate(resolve))
  }
  const { heapUsed, external } = process.memoryUsage()
  return { heap: heapUsed, buffers: external }
}

/** What each of so many more readers holds, once all of them stall: what is made once, for the first ones, is no reader's. */
async function heldByEach(world: World, worker: Worker, way: Way): Promise<number> {
  await stall(firstReaders, world, worker)
  const before = await bytesHeld()
  await stall(readers, world, worker)
  expect(await gauge(world, 'headgate_calls_running')).toBe(firstReaders + readers)
  const after = await bytesHeld()
  const [heap, buffers] = [(after.heap - before.heap) / readers, (after.buffers - before.buffers) / readers]
  console.log(
    `${readers} stalled readers, ${way} upstream: ${kib(heap + buffers)} each, ${kib(heap)} of heap and ${kib(buffers)} of buffers`,
  )
  return heap + buffers
}

async function stall(count: number, world: World, worker: Worker): Promise<void> {
  const body = JSON.stringify({ model: 'sim', input: 'a long answer', stream: true, max_output_tokens: 10_000 })
  const head = headOf(world, { 'content-length': String(body.length) }) + body
  worker.postMessage({ url: world.url, head, readers: count } satisfies Stalled)
  await once(worker, 'message')
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`
}

async function whenOver(world: World): Promise<void> {
  while ((await gauge(world, 'headgate_calls_running')) > 0 || world.headgate.gateway.drain.count > 0)
    await new Promise(resolve => setTimeout(resolve, 100))
}

async function openWorldOf(way: Way, clock: Clock): Promise<{ world: World; worker: Worker }> {
  const worker = new Worker(new URL('./stalled-worker.ts', import.meta.url))
  const [port] = (await once(worker, 'message')) as [number]
  const world = await openWorld({
    accounts: [{ concurrency: 0, baseUrl: `http://127.0.0.1:${port}${ways[way]}/v1` }],
    user: { concurrency: firstReaders + readers },
    balance: '1000000',
    settings: { stalledReaderMs, drainsMax: firstReaders + readers, drainMs: 120_000, booksTimeoutMs: 50_000, settleWithinMs: 50_000 },
    adapters: { clock },
  })
  return { world, worker }
}

test(`T16: ${readers} stalled readers hold a bounded amount each, and are cut and billed`, { timeout: 300_000 }, async () => {
  const minute = heldMinute()
  const { world, worker } = await openWorldOf('blasting', minute.clock)
  await using _ = world
  expect(await heldByEach(world, worker, 'blasting')).toBeLessThan(bytesPerReader)

  minute.over()
  await whenOver(world)
  await world.quiet()
  const rows = await world.rows()
  expect(rows).toHaveLength(firstReaders + readers)
  for (const row of rows) expect(row).toMatchObject({ ended: 'client_left', basis: 'drained', cost: longStreamCost, uncollected: 0n })
  await worker.terminate()
})

test(`${readers} readers who stall while an upstream talks hold less`, { timeout: 300_000 }, async () => {
  const { world, worker } = await openWorldOf('talking', systemClock)
  await using _ = world
  expect(await heldByEach(world, worker, 'talking')).toBeLessThan(bytesPerReader / 2)
  await worker.terminate()
  await whenOver(world)
  await world.quiet()
})
