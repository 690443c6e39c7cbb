import { existsSync, mkdirSync } from 'node:fs'
import { mkdtempDisposable } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onPostgres } from '../test/engines.ts'
import { openPostgresAt, urlAt } from '../test/shared-cluster.ts'
import { said } from './cli/terminal.fixture.ts'
import { openEngine } from './engines.ts'
import { heldCall, manualClock, settledRowStep, subscriptionSteps, userSteps } from './ledger/books.fixture.ts'
import { openLedger } from './ledger/ledger.ts'
import { settleSteps } from './ledger/steps.ts'
import { subscriptionFunds } from './ledger/subscription.ts'
import { statement } from './storage/database.ts'
import { lockFolder } from './storage/lock.ts'

const startMs = Date.UTC(2026, 9, 1, 12)
const terms = { id: 's', startsAtMs: startMs, endsAtMs: startMs * 2, dailyLimit: 10_000n, weeklyLimit: null, monthlyLimit: null }
const calls = 450

onPostgres('headgate move', () => {
  let scope: AsyncDisposableStack
  let data: string
  let to: string
  beforeEach(async () => {
    scope = new AsyncDisposableStack()
    const folder = scope.use(await mkdtempDisposable(join(tmpdir(), 'headgate-')))
    data = join(folder.path, 'data')
    mkdirSync(data)
    to = await urlAt(folder.path)
    await furnish()
  })
  afterEach(() => scope.disposeAsync())

  const embedded = () => openEngine({ data, databaseUrl: null, databaseConnections: 1, databaseStatementTimeoutMs: 1_000 })
  const headgate = (...argv: string[]) => said(argv, { env: { HEADGATE_DATABASE_URL: to }, cwd: data, stdin: '', nowMs: startMs })

  /** More calls than travel in one batch, of which some still run. */
  async function furnish(): Promise<void> {
    const { database } = await embedded()
    const ledger = openLedger(database, manualClock(startMs))
    await database.commit([...userSteps('w'), ...subscriptionSteps('w', terms)], 'synced')
    await ledger.credit({ walletId: 'w', amount: 10_000n, reference: 'c', reason: 'für ö', author: null })
    await ledger.renewLease('lease', 30_000)
    for (let call = 0; call < calls; call++) {
      const [callId, cost] = [`r${call}`, BigInt(call % 7)]
      const funds = call % 2 === 0 ? ({ kind: 'wallet', walletId: 'w' } as const) : subscriptionFunds(terms, startMs)
      await ledger.hold({ ...heldCall(startMs), callId, funds, floor: 1n, want: 10n, halfOfFree: false })
      if (call % 10 === 0) continue
      await database.commit(
        [...settleSteps({ callId, cost, funds, atMs: startMs, entryId: `e${call}` }), settledRowStep(callId, cost)],
        'ordered',
      )
    }
    await database.close()
  }

  async function everyRow(table: string) {
    const { database: source } = await embedded()
    const target = await openPostgresAt(join(data, '..'))
    const all = statement(`select * from ${table} order by 1, 2`)
    const both = [await source.report(all), await target.report(all)]
    await Promise.all([source.close(), target.close()])
    return both as [unknown[], unknown[]]
  }

  test('every row is there, the books balance, and a gateway goes on where the other stopped', async () => {
    const { code, out, err } = await headgate('move', '--from', data)
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toMatch(/holds +450\n/)
    expect(out).toContain('The books are in the new database and balance.')
    for (const table of ['users', 'wallets', 'entries', 'holds', 'windows', 'subscriptions', 'calls', 'leases', 'price_book']) {
      const [source, target] = await everyRow(table)
      expect(source.length).toBeGreaterThan(0)
      expect(target).toEqual(source)
    }
  })

  test('a database that has books is refused, and so are a folder in use and books that do not balance', async () => {
    const lock = await lockFolder(data)
    expect(await headgate('move', '--from', data)).toMatchObject({ code: 1, err: expect.stringContaining('is in use by another Headgate') })
    lock[Symbol.dispose]()
    const { database } = await embedded()
    await database.commit([{ statement: statement('update wallets set balance = balance + 1'), values: [] }], 'synced')
    expect(await headgate('move', '--from', data)).toMatchObject({
      code: 1,
      err: expect.stringContaining('do not balance, so they are not moved'),
    })
    await database.commit([{ statement: statement('update wallets set balance = balance - 1'), values: [] }], 'synced')
    await database.close()
    expect(await headgate('move', '--from', data)).toMatchObject({ code: 0 })
    expect(await headgate('move', '--from', data)).toMatchObject({ code: 1, err: expect.stringContaining('has books already') })
  })

  test('a folder without books is refused, and not made', async () => {
    const mistyped = join(data, 'nowhere')
    expect(await headgate('move', '--from', mistyped)).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no headgate.db in it'),
    })
    expect(existsSync(mistyped)).toBe(false)
  })

  test('migrate brings the schema forward, and says so once', async () => {
    expect((await headgate('migrate')).out).toMatch(/^The schema is at \d+; it was at 0\.\n$/)
    expect((await headgate('migrate')).out).toMatch(/^The schema is at \d+ already\.\n$/)
  })
})
