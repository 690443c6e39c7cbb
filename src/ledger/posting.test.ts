import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../lib/log.ts'
import { type Committed, DatabaseAway, type Step } from '../storage/database.ts'
import { heldCall, manualClock, settledRowStep } from './books.fixture.ts'
import { type Daybook, halfBytes, openDaybook, readDaybook } from './daybook.ts'
import { type Ended, type Ends, Posting } from './posting.ts'

let folder: string
let daybook: Daybook
let clock: ReturnType<typeof manualClock>
let posting: Posting<string>
/** The calls of each commit that the books were asked for, and how they answer the next ones; when none is left, they do what they are asked. */
let asked: string[][]
let answers: (Committed | Error | Promise<Committed>)[]
let refused: string[]
let troubles: number
let journal: 'takes it' | 'is full'
let said: string[]
/** Who was told that a call has ended, and whether it is on the disk. */
let ended: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-posting-'))
  clock = manualClock(1_000)
  daybook = openDaybook(join(folder, 'calls.daybook'), clock, 250)
  asked = []
  answers = []
  refused = []
  troubles = 0
  journal = 'takes it'
  said = []
  ended = []
  const say = (_: object, text: string) => void said.push(text)
  posting = new Posting({
    books: { commit },
    daybook,
    ends: {
      ...callIdEnds,
      async refused(callId, cause) {
        if (journal === 'is full') throw new Error('no space left')
        refused.push(`${callId}: ${cause instanceof Error ? cause.message : cause}`)
      },
    },
    ended: ({ end }, isOnDisk) => void ended.push(`${end} ${isOnDisk}`),
    ...{ clock, log: { warn: say, error: say } as never, lateMs: 250, onTrouble: () => void (troubles += 1) },
  })
})
afterEach(async () => {
  await posting.close()
  await daybook.close()
  rmSync(folder, { recursive: true })
})

test('calls that end are on the disk at once, and in the books together, after a while', async () => {
  await Promise.all(['a', 'b'].map(add))
  await add('c')
  expect([asked, left(), ended]).toEqual([[], ['a', 'b', 'c'], ['a true', 'b true', 'c true']])
  clock.advance(99)
  expect(asked).toEqual([])
  clock.advance(1)
  expect(asked).toEqual([['a', 'b', 'c']])
  await posting.post()
  await add('d')
  expect(left(), 'the books have the rest').toEqual(['d'])
  clock.advance(100)
  expect(asked).toEqual([['a', 'b', 'c'], ['d']])
})

test('many do not wait, and what comes while the books are at work is for the next time', async () => {
  const first = Promise.withResolvers<Committed>()
  answers = [first.promise]
  const many = Array.from({ length: 600 }, (_, index) => `c${index}`)
  await Promise.all(many.map(add))
  expect(asked.map(calls => calls.length)).toEqual([256])
  first.resolve(done)
  await until(() => asked.length === 2)
  expect(asked.map(calls => calls.length)).toEqual([256, 256])
  await posting.post()
  expect(asked.flat()).toEqual(many)
})

test('whoever asks the books after `post` comes behind all that has ended', async () => {
  const adding = add('a')
  void posting.post()
  expect(asked, 'also what is not on the disk yet').toEqual([['a']])
  await adding
  await posting.post()
  expect(asked).toHaveLength(1)
})

test('one that the books refuse is owed, and does not stand in the way of the others', async () => {
  await Promise.all(['a', 'b', 'c'].map(add))
  answers = [guarded, done, guarded, done]
  await posting.post()
  expect(asked).toEqual([['a', 'b', 'c'], ['a'], ['b'], ['c']])
  expect([refused, troubles]).toEqual([['b: the books refuse it: held_already'], 1])
  answers = [new Error('constraint failed'), new Error('constraint failed')]
  await add('d')
  await posting.post()
  expect(refused.at(-1)).toBe('d: constraint failed')
  await add('e')
  expect(left()).toEqual(['e'])
})

test('while the books are away all of it stays, and is tried again each second', async () => {
  answers = [new DatabaseAway('away'), new DatabaseAway('away')]
  await Promise.all(['a', 'b'].map(add))
  await posting.post()
  expect([asked, troubles]).toEqual([[['a', 'b']], 1])
  await add('c')
  clock.advance(1000)
  expect(asked.at(-1), 'in the order of ending').toEqual(['a', 'b', 'c'])
  await posting.post()
  expect(troubles).toBe(2)
  await posting.post()
  await add('d')
  expect([asked.length, left()]).toEqual([3, ['d']])
})

test('however many wait, books that are away are not asked over and over', async () => {
  answers = Array.from({ length: 50 }, () => new DatabaseAway('away'))
  await Promise.all(Array.from({ length: 300 }, (_, index) => add(`c${index}`)))
  await until(() => troubles > 0)
  for (let turns = 0; turns < 50; turns += 1) await new Promise(resolve => setImmediate(resolve))
  expect(asked.length).toBe(1)
  clock.advance(1000)
  await posting.post()
  expect(asked.length).toBe(3) // All that wait, in two commits.
  answers = []
  clock.advance(1000)
  await posting.post()
  expect(posting.size).toBe(0)
})

test('when each is tried alone, all are asked for at once, and those that fail are tried again', async () => {
  const slow = Promise.withResolvers<Committed>()
  answers = [guarded, slow.promise, new DatabaseAway('away')]
  await Promise.all(['a', 'b', 'c'].map(add))
  void posting.post()
  await until(() => asked.length === 4)
  // Whoever looks from here on comes behind all of them.
  expect([asked.slice(1), troubles]).toEqual([[['a'], ['b'], ['c']], 1])
  slow.resolve(done)
  await until(() => troubles === 2)
  await posting.post()
  expect([asked.at(-1), posting.size]).toEqual([['b'], 0])
})

test('what neither books nor journal take stays in the daybook', async () => {
  journal = 'is full'
  answers = [guarded, guarded]
  await add('a')
  await posting.post()
  await add('b')
  expect([left(), refused]).toEqual([['a', 'b'], []])
  journal = 'takes it'
  answers = [guarded, guarded, done]
  clock.advance(1000)
  await posting.post()
  expect(refused).toEqual(['a: the books refuse it: held_already'])
})

test('books that are late are told of while they are', async () => {
  const slow = Promise.withResolvers<Committed>()
  answers = [slow.promise]
  await add('a')
  const sending = posting.post()
  clock.advance(249)
  expect(troubles).toBe(0)
  clock.advance(1)
  expect(troubles).toBe(1)
  slow.resolve(done)
  await sending
})

test('where the daybook has no room or fails, a call waits for the books', async () => {
  const long = 'x'.repeat(halfBytes)
  await add(long)
  expect(asked).toEqual([[long]])
  answers = [new DatabaseAway('away')]
  await expect(add(long)).rejects.toThrow(DatabaseAway)
  await daybook.close()
  await add('a')
  await add('b')
  expect(asked.slice(2)).toEqual([[long, 'a'], ['b']])
  expect(said).toEqual(['the daybook cannot be written; each call that ends is told to the books'])
  answers = [new DatabaseAway('gone')]
  await expect(add('c')).rejects.toThrow('gone')
  expect(ended.slice(-3)).toEqual(['a true', 'b true', 'c false'])
  daybook = openDaybook(join(folder, 'calls.daybook'), clock, 250)
})

test('what is in the books waits no longer for a line that is not written', async () => {
  const never: Daybook = { add: () => 1, posted: () => {}, close: async () => {} }
  const parts = { books: { commit }, daybook: never, clock, lateMs: 250, onTrouble: () => {}, log: silentLog }
  const stuck = new Posting<string>({
    ...parts,
    ends: { ...callIdEnds, refused: async () => {} },
    ended: ({ end }, isOnDisk) => void ended.push(`${end} ${isOnDisk}`),
  })
  const adding = stuck.add(endOf('a'))
  await stuck.post()
  await adding
  expect(ended).toEqual(['a true'])
})

/** An end is a call's id, and nothing else. */
const callIdEnds: Omit<Ends<string>, 'refused'> = {
  lineOf: ({ end }) => JSON.stringify(end),
  endIn: line => JSON.parse(line),
  stepsOf: lines => lines.map(line => settledRowStep(JSON.parse(line), 1n)),
}

const done: Committed = { done: true, rows: [] }
const guarded: Committed = { done: false, guard: 'held_already' }

async function commit(steps: readonly Step[]): Promise<Committed> {
  asked.push(steps.filter(({ statement }) => statement.sql.startsWith('insert into calls')).map(({ values }) => String(values[0])))
  const answer = answers.shift() ?? done
  if (answer instanceof Error) throw answer
  return answer
}

function add(callId: string): Promise<void> {
  return posting.add(endOf(callId))
}

function endOf(callId: string): Ended<string> {
  const slip = { ...heldCall(1_000), callId, walletId: 'w', want: 10n }
  return {
    slip,
    settle: { callId, cost: 1n, atMs: 1_000, funds: { kind: 'wallet', walletId: 'w' }, entryId: `e-${callId}` },
    end: callId,
    looks: 0,
  }
}

function left(): unknown[] {
  return readDaybook(join(folder, 'calls.daybook')).lines.map(line => JSON.parse(line))
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(resolve => setImmediate(resolve))
}
