import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { seedsFrom } from '../chance.ts'
import { type Run, simulate } from './simulate.ts'

/**
 * T13 and T28: whole runs of the gateway in virtual time. After every event the laws of `attempts.ts`, `lines.ts`, `sessions.ts` and
 * `books.ts` are checked; whatever breaks one prints its seed and the end of its trace.
 */
const seeds = seedsFrom(1, process.env.HEADGATE_TEST_FULL === undefined ? 100 : 2_000)

const runs: Omit<Run, 'trace'>[] = []
const linesShown = 60

test.for(seeds)('all promises are kept, and the same seed gives the same run (HEADGATE_TEST_SEED=%i)', async seed => {
  const { trace, ...run } = await simulate(seed)
  if (run.broken.length > 0) assert.fail(`${run.broken.join('\n')}\n\nThe trace ends:\n${trace.slice(-linesShown).join('\n')}`)
  expect((await simulate(seed)).hash).toBe(run.hash)
  runs.push(run)
})

/** Of one seed that is looked at alone, or a few, the shares mean nothing. */
test.skipIf(seeds.length < 100)('T13: sessions stay where all is well, and leave what has become slow within three calls', () => {
  const sum = (of: (run: (typeof runs)[number]) => number) => runs.reduce((total, run) => total + of(run), 0)
  const [stayed, strayed, displaced] = (['stayed', 'strayed', 'displaced'] as const).map(name => sum(run => run.sessions[name]))
  const hash = createHash('sha256')
    .update(runs.map(run => run.hash).join('\n'))
    .digest('hex')
  console.log(
    `${runs.length} seeds: ${sum(run => run.calls)} calls, ${sum(run => run.attempts)} attempts, ${sum(run => run.events)} events in ` +
      `${Math.round(sum(run => run.virtualMs) / 3_600_000)} hours that never passed; all traces ${hash}\n` +
      `calls of sessions whose account was well: ${stayed} on it, ${strayed} elsewhere, ${displaced} elsewhere after a full line\n` +
      `left a slow account after so many slow streams: ${JSON.stringify(added(runs.map(run => run.sessions.left)))}\n` +
      `calls ended: ${JSON.stringify(added(runs.map(run => run.endings)))}`,
  )
  expect(strayed).toBeLessThanOrEqual((stayed! + strayed!) / 100)
  expect(strayed! + displaced!).toBeLessThanOrEqual((stayed! + strayed! + displaced!) / 100)
})

function added(counts: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const [name, count] of counts.flatMap(one => Object.entries(one))) sums[name] = (sums[name] ?? 0) + count
  return sums
}
