import { expect, test } from 'vitest'
import { manualClock } from '../ledger/books.fixture.ts'
import { Fault } from '../lib/fault.ts'
import { DatabaseAway } from '../storage/database.ts'
import { orBooksAway } from './books-away.ts'

const settings = { booksTimeoutMs: 2_000 }

/** Asks books that answer so, one time after the other; the last stays. */
function asking(...answers: readonly (() => Promise<string>)[]) {
  const clock = manualClock(0)
  let asked = 0
  const ask = () => answers[Math.min(asked++, answers.length - 1)]!()
  const told = orBooksAway(ask, { clock, settings }).catch((error: unknown) => error)
  /** Lets time pass in steps, and what was answered be heard. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 100) {
      clock.advance(100)
      for (let turn = 0; turn < 10; turn += 1) await undefined
    }
  }
  return { told, pass, asked: () => asked }
}

const away = () => Promise.reject(new DatabaseAway('it is away'))
const broken = () => Promise.reject(new Error('a bug'))
const silent = () => new Promise<string>(() => {})
const good = () => Promise.resolve('good')

test('books that are back in time are heard, as if they had never been away', async () => {
  const books = asking(away, away, away, good)
  await books.pass(1_000)
  expect(await books.told).toBe('good')
  expect(books.asked()).toBe(4)
})

test('books that stay away are a fault when the time is over, and are asked no more', async () => {
  const books = asking(away)
  await books.pass(1_900)
  expect(await Promise.race([books.told, 'nothing yet'])).toBe('nothing yet')
  await books.pass(100)
  expect(await books.told).toMatchObject({ fault: 'books_away', cause: { name: 'DatabaseAway' } })
  const asked = books.asked()
  await books.pass(10_000)
  expect(books.asked()).toBe(asked)
})

test('books that hang are a fault when the time is over', async () => {
  const books = asking(silent)
  await books.pass(2_000)
  expect(await books.told).toBeInstanceOf(Fault)
  expect(books.asked()).toBe(1)
})

test('what fails in another way is not asked again', async () => {
  const books = asking(broken, good)
  expect(await books.told).toMatchObject({ fault: 'books_away', cause: { message: 'a bug' } })
  expect(books.asked()).toBe(1)
})
