import { expect, test } from 'vitest'
import type { Database } from '../storage/database.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { manualClock, openBooks } from './books.fixture.ts'
import { openLedger } from './ledger.ts'
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
const runsPerLane = isFull ? 920 : 92
const commandsMax = 100
const commandsLeast = isFull ? 4_000_000 : 400_000
/** Reading all books is what takes long, and they grow with each run. */
const checkEveryRuns = (lanes * runsPerLane) / 5

test('no sequence of commands makes the ledger differ from its model', { timeout: isFull ? 3_600_000 : 600_000 }, async () => {
  await using books = await openBooks(openUnsynced)
  const ledger = openLedger(books.database, manualClock(0))
  let [runs, commands] = [0, 0]
  const shared = {}
  const afterRun = async (more: number) => {
    commands += more
    if (++runs % checkEveryRuns === 0) expect(await ledger.check()).toEqual([])
  }
  const lane = (_: unknown, index: number) =>
    tryCommands({ database: books.database, name: `lane${index}`, seed: seed + index, runs: runsPerLane, commandsMax, shared, afterRun })
  const found = (await Promise.all(Array.from({ length: lanes }, lane))).find(each => each !== undefined)
  expect(found && tellFound(found)).toBeUndefined()
  expect(await ledger.check()).toEqual([])
  process.stdout.write(`ledger model: ${commands} commands in ${runs} sequences, seed ${seed}\n`)
  expect(commands).toBeGreaterThanOrEqual(commandsLeast)
})

test('nor when the ledger itself looks for the holds that are due', { timeout: 600_000 }, async () => {
  await using books = await openBooks(openUnsynced)
  const found = await tryCommands({ database: books.database, name: 'alone', seed, runs: isFull ? 1_000 : 50, commandsMax, isAlone: true })
  expect(found && tellFound(found)).toBeUndefined()
})

/** No power fails here: waiting for the disk would take most of the time. */
async function openUnsynced(path: string): Promise<Database> {
  const database = await openSqlite(path)
  return { ...database, commit: steps => database.commit(steps, 'ordered') }
}
