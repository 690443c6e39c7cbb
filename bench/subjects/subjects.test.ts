import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadCore } from '../cores.ts'
import { type Answers, prepareAnswers } from '../load/answers.ts'
import { allAtOnce, type Load } from '../load/load.ts'
import type { Ask } from '../load/request.ts'
import { loadOf } from '../rounds.ts'
import { direct, relay } from './bare.ts'
import { headgate } from './headgate.ts'
import { freePort, isThere, type Program, startProgram } from './program.ts'
import type { Ground, Running } from './subject.ts'

const asks: Readonly<Record<string, Ask>> = {
  'a JSON answer': { stream: false },
  'a kept JSON answer': { stream: false, store: true },
  'a stream': { stream: true, gapMs: 1 },
}

describe.skipIf(!isThere('taskset', '--version'))('what is measured (left out where there is no taskset)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-bench-test-'))
  let upstream: Program
  let ground: Ground
  let answers: Answers

  beforeAll(async () => {
    answers = await prepareAnswers()
    const upstreamPort = await freePort()
    const words = [process.execPath, join(import.meta.dirname, '../upstream.ts'), String(upstreamPort)]
    upstream = await startProgram({ core: loadCore, words, log: join(folder, 'upstream.log') }, upstreamPort)
    ground = { upstreamPort, folder, profiled: false, fromSource: true }
  })
  afterAll(async () => {
    await upstream.stop()
    rmSync(folder, { recursive: true })
  })

  /** One call of each kind, held against what the upstream says; returns how many calls were made. */
  async function expectRelayed(running: Running): Promise<number> {
    let calls = 0
    for (const ask of Object.values(asks)) calls += (await allAtOnce(loadOf(ask, running, answers), 2)).calls
    return calls
  }

  for (const subject of [direct, relay]) {
    test(`${subject.name} relays ${Object.keys(asks).join(', ')} whole`, async () => {
      await using running = await subject.start(ground)
      expect(await expectRelayed(running)).toBe(6)
    })
  }

  test('Headgate’s books are held against the calls that were made, and a missing one is noticed', async () => {
    await using running = await headgate.start(ground)
    const calls = await expectRelayed(running)
    await expect(running.audit!(calls + 1)).rejects.toThrow(/calls: \d+n/)
    expect(await running.audit!(calls)).toBe('journal_mode wal, synchronous 2')
  })

  test('a gateway that refuses ends the run', async () => {
    await using running = await headgate.start({ ...ground, folder: join(folder, 'refused') })
    const load: Load = loadOf({ stream: false }, { ...running, callers: [{ key: 'sk-nobody' }] }, answers)
    await expect(allAtOnce(load, 1)).rejects.toThrow('refused: status 401')
  })
})
