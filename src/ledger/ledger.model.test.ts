import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { systemClock } from '../lib/clock.ts'
import type { Database } from '../storage/database.ts'
import { manualClock, openBooks } from './books.fixture.ts'
import { openDaybook } from './daybook.ts'
import { openLedger } from './ledger.ts'
import { openSlips } from './slips.ts'
import { tellFound, tryCommands } from './world.fixture.ts'

/**
 * T1: a call is charged at most once, and the books balance, whatever is asked of the ledger in whatever order. Many sequences
 * run at once over one database, as calls do, so that they also share its commits.
 *
 * HEADGATE_TEST_SEED takes the seed that a failure printed, and the first lane meets it again; HEADGATE_TEST_FULL=1 tries ten
 * times as many.
 */
const isFull = process.env.HEADGATE_TEST_FULL === '1'
const seed = Number(process.env.HEADGATE_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))
const lanes = 100
const commandsMax = 100

/** So many sequences a lane, and so many commands that they come to at least. A server is asked over a wire, which takes a hundred times as long. */
const sizes = isFull
  ? { SQLite: { runsPerLane: 920, commandsLeast: 4_000_000 }, PostgreSQL: { runsPerLane: 92, commandsLeast: 400_000 } }
  : { SQLite: { runsPerLane: 92, commandsLeast: 400_000 }, PostgreSQL: { runsPerLane: 2, commandsLeast: 6_000 } }
/** Reading all books is what takes long, and they grow with each run. */
const checks = 5

onEveryEngine((open, engine) => {
  test('no sequence of commands makes the ledger differ from its model', { timeout: isFull ? 3_600_000 : 600_000 }, async () => {
    await using books = await openBooks(unsynced)
    const ledger = openLedger(books.database, manualClock(0))
    const { runsPerLane, commandsLeast } = sizes[engine]
    let [runs, commands] = [0, 0]
    const shared = {}
    const afterRun = async (more: number) => {
      commands += more
      if (++runs % ((lanes * runsPerLane) / checks) === 0) expect(await ledger.check()).toEqual([])
    }
    const lane = (_: unknown, index: number) =>
      tryCommands({ database: books.database, name: `lane${index}`, seed: seed + index, runs: runsPerLane, commandsMax, shared, afterRun })
    const found = (await Promise.all(Array.from({ length: lanes }, lane))).find(each => each !== undefined)
    expect(found && tellFound(found)).toBeUndefined()
    expect(await ledger.check()).toEqual([])
    process.stdout.write(`ledger model on ${engine}: ${commands} commands in ${runs} sequences, seed ${seed}\n`)
    expect(commands).toBeGreaterThanOrEqual(commandsLeast)
  })

  test('nor when the ledger itself looks for the holds that are due', { timeout: 600_000 }, async () => {
    await using books = await openBooks(unsynced)
    const runs = engine === 'PostgreSQL' ? 5 : 50
    const found = await tryCommands({
      database: books.database,
      name: 'alone',
      seed,
      runs: isFull ? runs * 20 : runs,
      commandsMax,
      isAlone: true,
    })
    expect(found && tellFound(found)).toBeUndefined()
  })

  test.runIf(engine === 'SQLite')(
    'nor when holds are granted at hand, and the books hear of them later',
    { timeout: 600_000 },
    async () => {
      await using books = await openBooks(unsynced)
      const folder = await mkdtemp(join(tmpdir(), 'headgate-model-'))
      let commands = 0
      const lane = async (_: unknown, index: number) => {
        const files = {
          slips: openSlips(join(folder, `${index}.slips`)),
          daybook: openDaybook(join(folder, `${index}.daybook`), systemClock, 60_000),
        }
        const afterRun = (more: number) => void (commands += more)
        const name = `hand${index}`
        const found = await tryCommands({
          database: books.database,
          name,
          seed: seed + index,
          runs: isFull ? 400 : 40,
          commandsMax,
          files,
          afterRun,
        })
        files.slips.close()
        await files.daybook.close()
        return found
      }
      const found = (await Promise.all(Array.from({ length: 20 }, lane))).find(each => each !== undefined)
      await rm(folder, { recursive: true })
      expect(found && tellFound(found)).toBeUndefined()
      expect(await openLedger(books.database, manualClock(0)).check()).toEqual([])
      expect(commands).toBeGreaterThanOrEqual(isFull ? 300_000 : 30_000)
    },
  )

  /** No power fails here: waiting for the disk would take most of the time. */
  async function unsynced(path: string): Promise<Database> {
    const database = await open(path)
    return { ...database, commit: steps => database.commit(steps, 'ordered') }
  }
})
