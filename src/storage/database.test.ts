import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { onEveryEngine } from '../../test/engines.ts'
import { type Committed, DatabaseAway, type Statement, type Step, script, statement, type Value } from './database.ts'

const schema = script(`
  create table wallets (id text primary key, balance bigint not null check (balance >= 0));
  create table entries (reference text primary key, wallet_id text not null references wallets (id), amount bigint not null);
  create table things (id bigint primary key, value bigint, words text, bytes bytea);
`)
const createWallet = statement('insert into wallets (id, balance) values ($1, $2)')
const readWallet = statement('select balance from wallets where id = $1')
const readWallets = statement('select id, balance from wallets order by id')
const countEntries = statement('select count(*) as count, sum(amount) as sum from entries')
const take = statement('update wallets set balance = balance - $2 where id = $1 and balance >= $2')
const takeUnchecked = statement('update wallets set balance = balance - $2 where id = $1 returning balance')
const enter = statement('insert into entries (reference, wallet_id, amount) values ($1, $2, $3)')

/** What every engine promises. */
onEveryEngine(open => {
  async function opened() {
    const folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
    const database = await open(join(folder.path, 'books.db'))
    await database.commit([step(schema)], 'synced')
    await database.commit([step(createWallet, 'ada', 1_000n)], 'synced')
    return {
      database,
      async [Symbol.asyncDispose]() {
        await database.close()
        await folder.remove()
      },
    }
  }

  test('of many commits in flight each lands or fails alone', async () => {
    await using books = await opened()
    const asked = Array.from({ length: 500 }, (_, index) =>
      books.database.commit(
        [step(enter, `call-${index}`, 'ada', -3n), { ...step(take, 'ada', 3n), rows: 1, otherwise: 'short' }],
        index % 2 === 0 ? 'synced' : 'ordered',
      ),
    )
    const answers = await Promise.all(asked)
    expect(answers.filter(answer => answer.done)).toHaveLength(333)
    expect(answers.slice(333)).toEqual(Array(167).fill({ done: false, guard: 'short' }))
    expect(await books.database.read(readWallet, ['ada'])).toEqual([{ balance: 1n }])
    expect(await books.database.read(countEntries)).toEqual([{ count: 333n, sum: -999n }])
  })

  test('a commit that fails leaves no trace, and its neighbours land', async () => {
    await using books = await opened()
    const { database } = books
    const answers = await Promise.allSettled([
      database.commit([step(enter, 'one', 'ada', -1n), step(take, 'ada', 1n)], 'ordered'),
      database.commit([step(enter, 'two', 'ada', -2n), { ...step(take, 'ada', 9_999n), rows: 1, otherwise: 'short' }], 'ordered'),
      database.commit([step(enter, 'three', 'ada', -4n), step(takeUnchecked, 'ada', 9_999n)], 'ordered'),
      database.commit([step(enter, 'four', 'ada', -8n), step(take, 'ada', 8n)], 'synced'),
    ])
    expect(answers).toMatchObject([
      { value: { done: true } },
      { value: { done: false, guard: 'short' } },
      { reason: { message: expect.stringMatching(/check/i) } },
      { value: { done: true } },
    ])
    expect(await database.read(countEntries)).toEqual([{ count: 2n, sum: -9n }])
    expect(await database.read(readWallet, ['ada'])).toEqual([{ balance: 991n }])
  })

  test('any mixture of commits in flight does what the same commits one after the other would do', async () => {
    await using books = await opened()
    const { database } = books
    const move = fc.record({ wallet: fc.constantFrom('w0', 'w1', 'nobody'), amount: fc.bigInt(-6n, 6n), guarded: fc.boolean() })
    const commits = fc.array(fc.array(move, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(commits, async asked => {
        await database.commit([step(statement('delete from wallets'))], 'ordered')
        await Promise.all(['w0', 'w1'].map(wallet => database.commit([step(createWallet, wallet, 10n)], 'ordered')))
        const answers = await Promise.allSettled(asked.map(moves => database.commit(moves.map(stepOf), 'ordered')))
        const expected = oneAfterTheOther(asked)
        expect(answers.map(wordFor)).toEqual(expected.words)
        expect(await database.read(readWallets)).toEqual([...expected.balances].map(([id, balance]) => ({ id, balance })))
      }),
      { numRuns: 100 },
    )
  })

  test('a guard counts the rows returned, or else changed', async () => {
    await using books = await opened()
    const { database } = books
    await database.commit([step(createWallet, 'bob', 5n)], 'ordered')
    const all = statement('update wallets set balance = balance + 1')
    const allReturning = statement('update wallets set balance = balance + 1 returning id')
    const none = statement("select id from wallets where id = 'nobody'")
    const cases: [Statement, number, boolean][] = [
      [all, 2, true],
      [all, 1, false],
      [all, 0, false],
      [allReturning, 2, true],
      [allReturning, 3, false],
      [readWallets, 2, true],
      [readWallets, 0, false],
      [none, 0, true],
      [none, 1, false],
    ]
    for (const [sql, rows, done] of cases) {
      expect({ sql, rows, ...(await database.commit([{ ...step(sql), rows, otherwise: 'other' }], 'ordered')) }).toMatchObject({ done })
    }
    expect(await database.read(readWallets)).toEqual([
      { id: 'ada', balance: 1_002n },
      { id: 'bob', balance: 7n },
    ])
  })

  test('each step returns its own rows', async () => {
    await using books = await opened()
    const steps = [step(enter, 'one', 'ada', -1n), step(takeUnchecked, 'ada', 1n), step(readWallets)]
    expect(await books.database.commit(steps, 'synced')).toEqual({
      done: true,
      rows: [[], [{ balance: 999n }], [{ id: 'ada', balance: 999n }]],
    })
    expect(await books.database.commit([step(take, 'ada', 1n), step(take, 'ada', 1n)], 'synced')).toEqual({ done: true, rows: [[], []] })
  })

  test.each<[string, Value, Value]>([
    ['value', 2n ** 53n + 1n, 2n ** 53n + 1n],
    ['value', 2n ** 63n - 1n, 2n ** 63n - 1n],
    ['value', -(2n ** 63n), -(2n ** 63n)],
    ['value', 7, 7n],
    ['value', Number.MAX_SAFE_INTEGER, 9_007_199_254_740_991n],
    ['value', null, null],
    ['words', 'ünï\u{1f600}\u0001', 'ünï\u{1f600}\u0001'],
    ['words', '', ''],
    ['bytes', new Uint8Array([0, 255, 7]), new Uint8Array([0, 255, 7])],
  ])('a %s comes back as it went in: %s', async (column, value, expected) => {
    await using books = await opened()
    await books.database.commit([step(statement(`insert into things (id, ${column}) values (1, $1)`), value)], 'ordered')
    for (const ask of [books.database.read, books.database.report]) {
      expect(await ask(statement(`select ${column} as value from things where id = $1`), [1])).toEqual([{ value: expected }])
    }
  })

  test('placeholders may repeat and stand in any order', async () => {
    await using books = await opened()
    const sql = statement("select $2 || $1 || $2 || '$1' as words")
    expect(await books.database.read(sql, ['a', 'b'])).toEqual([{ words: 'bab$1' }])
  })

  test.each<[string, Statement, Value[], string]>([
    ['twice the same key', createWallet, ['ada', 4_711n], 'insert into wallets (id, balance)'],
    ['a missing reference', enter, ['x', 'secret-wallet', 4_711n], 'insert into entries'],
    ['a forbidden null', createWallet, ['secret-wallet', null], 'insert into wallets'],
    ['SQL that is none', statement('no such sql'), [], 'no such sql'],
    ['an unknown table', statement('select * from nothing where id = $1'), ['secret-wallet'], 'select * from nothing'],
    ['a fraction', createWallet, ['secret-wallet', 4_711.5], 'insert into wallets'],
    ['a number too large to be exact', createWallet, ['secret-wallet', 2 ** 53], 'insert into wallets'],
    ['a bigint too large', createWallet, ['secret-wallet', 2n ** 63n], 'insert into wallets'],
    ['too few values', createWallet, ['secret-wallet'], 'insert into wallets'],
    ['too many values', createWallet, ['secret-wallet', 1n, 2n], 'insert into wallets'],
  ])('%s rejects that command only, and tells the SQL but no value', async (_, sql, values, words) => {
    await using books = await opened()
    const [before, refused, after] = await Promise.allSettled([
      books.database.commit([step(enter, 'before', 'ada', 1n)], 'synced'),
      books.database.commit([step(enter, 'refused', 'ada', 1n), { statement: sql, values }], 'synced'),
      books.database.commit([step(enter, 'after', 'ada', 1n)], 'synced'),
    ])
    expect([before, after]).toMatchObject([{ value: { done: true } }, { value: { done: true } }])
    expect(refused.status === 'rejected' && refused.reason).toBeInstanceOf(Error)
    expect(refused.status === 'rejected' && refused.reason).not.toBeInstanceOf(DatabaseAway)
    const { message } = (refused as PromiseRejectedResult).reason as Error
    expect(message).toContain(words)
    expect(message).not.toMatch(/secret|4711|9223372036854775808/)
    expect(await books.database.read(countEntries)).toEqual([{ count: 2n, sum: 2n }])
  })

  test('a read sees the commits asked before it, and is not answered before they are', async () => {
    await using books = await opened()
    const { database } = books
    const committed = database.commit([step(takeUnchecked, 'ada', 1n)], 'synced')
    expect(await database.read(readWallet, ['ada'])).toEqual([{ balance: 999n }])
    expect(await database.report(readWallet, ['ada'])).toEqual([{ balance: 999n }])
    expect(await committed).toMatchObject({ done: true })
  })

  test('a report sees every acknowledged commit', async () => {
    await using books = await opened()
    const { database } = books
    for (let left = 999n; left > 900n; left--) {
      await database.commit([step(take, 'ada', 1n)], 'ordered')
      expect(await database.report(readWallet, ['ada'])).toEqual([{ balance: left }])
    }
  })

  test('a script that breaks in the middle leaves no trace', async () => {
    await using books = await opened()
    const { database } = books
    const broken = script('create table halves (id bigint); insert into halves values (1); insert into nowhere values (1);')
    await expect(database.commit([step(broken)], 'synced')).rejects.toThrow('nowhere')
    await expect(database.read(statement('select * from halves'))).rejects.toThrow('halves')
    const whole = script("create table wholes (id bigint); insert into wholes values (1); insert into wholes values ('2');")
    await Promise.all([database.commit([step(whole)], 'synced'), database.commit([step(script('delete from things'))], 'synced')])
    expect(await database.read(statement('select * from wholes'))).toEqual([{ id: 1n }, { id: 2n }])
  })

  test('closing answers what was asked before, and refuses what is asked after', async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'headgate-'))
    const database = await open(join(folder.path, 'books.db'))
    const asked = [database.commit([step(schema)], 'ordered'), database.commit([step(createWallet, 'ada', 1n)], 'ordered')]
    const closed = database.close()
    const late = [database.read(readWallets), database.report(readWallets), database.commit([], 'synced')]
    for (const answer of await Promise.allSettled(late)) expect(answer).toMatchObject({ reason: expect.any(DatabaseAway) })
    await closed
    await database.close()
    expect(await Promise.all(asked)).toMatchObject([{ done: true }, { done: true }])
    const again = await open(join(folder.path, 'books.db'))
    expect(await again.read(readWallets)).toEqual([{ id: 'ada', balance: 1n }])
    await again.close()
  })
})

function step(statement: Statement, ...values: Value[]): Step {
  return { statement, values }
}

interface Move {
  readonly wallet: string
  readonly amount: bigint
  readonly guarded: boolean
}

/** Takes an amount: under a guard that there is enough of it, or against the check of the table. */
function stepOf({ wallet, amount, guarded }: Move): Step {
  return guarded ? { ...step(take, wallet, amount), rows: 1, otherwise: 'short' } : step(takeUnchecked, wallet, amount)
}

function oneAfterTheOther(asked: readonly (readonly Move[])[]) {
  let balances = new Map([
    ['w0', 10n],
    ['w1', 10n],
  ])
  const words = asked.map(moves => {
    const next = new Map(balances)
    for (const { wallet, amount, guarded } of moves) {
      const left = (next.get(wallet) ?? -1n) - amount
      if (guarded && (!next.has(wallet) || left < 0n)) return 'short'
      if (next.has(wallet) && left < 0n) return 'refused'
      if (next.has(wallet)) next.set(wallet, left)
    }
    balances = next
    return 'done'
  })
  return { words, balances }
}

function wordFor(answer: PromiseSettledResult<Committed>): string {
  if (answer.status === 'rejected') return 'refused'
  return answer.value.done ? 'done' : answer.value.guard
}
