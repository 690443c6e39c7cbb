import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { DatabaseAway, type Statement, type Step, statement, type Value } from './database.ts'
import { openSqlite, type SqliteOptions } from './sqlite.ts'

const createLines = statement('create table lines (number bigint primary key, filler text not null)')
const write = statement('insert into lines (number, filler) values ($1, $2)')
const count = statement('select count(*) as count from lines')
const readSynchronous = statement('pragma synchronous')
const pageBytes = 4096
const logHeaderBytes = 32
const frameHeaderBytes = 24

test('it runs with a write-ahead log that is synced at every commit', async () => {
  await using books = await opened()
  expect(books.database.settings).toEqual({ journalMode: 'wal', synchronous: 2 })
})

test.each([
  [':memory:', 'journal_mode wal and synchronous 2, but SQLite says memory and 2'],
  ['/nowhere/at/all/books.db', 'unable to open database file'],
])('%s is refused, with the reason', async (path, reason) => {
  const refused = openSqlite(path)
  await expect(refused).rejects.toBeInstanceOf(DatabaseAway)
  await expect(refused).rejects.toThrow(reason)
})

test('one synced command makes its batch synced, a batch without one is only ordered', async () => {
  await using books = await opened()
  const { commit, read } = books.database
  const levelOf = async (...durabilities: ('synced' | 'ordered')[]) => {
    const commits = durabilities.map(durability => commit([step(statement('delete from lines'))], durability))
    const [row] = await read(readSynchronous)
    await Promise.all(commits)
    return row?.synchronous
  }
  expect(await levelOf('ordered')).toBe(1n)
  expect(await levelOf('ordered', 'synced', 'ordered')).toBe(2n)
  expect(await levelOf('ordered', 'ordered')).toBe(1n)
  expect(await levelOf('synced')).toBe(2n)
})

test('commits that come together share one transaction, and so one sync', async () => {
  await using books = await opened()
  const before = await transactionsIn(`${books.path}-wal`)
  const commits = Array.from({ length: 50 }, (_, number) => books.database.commit([step(write, number, '')], 'synced'))
  for (const committed of await Promise.all(commits)) expect(committed.done).toBe(true)
  expect((await transactionsIn(`${books.path}-wal`)) - before).toBe(1)
  await Promise.all(commits.map((_, number) => books.database.commit([step(write, 100 + number, '')], 'synced')))
  expect((await transactionsIn(`${books.path}-wal`)) - before).toBe(2)
})

test('as long as each turn of the event loop brings more, all of it shares one transaction', async () => {
  await using books = await opened()
  const { commit } = books.database
  const transactions: number[] = []
  // A machine that stands still for long enough sends what there is: then it is one more.
  for (let tries = 0; tries < 10 && !transactions.includes(1); tries += 1) {
    const before = await transactionsIn(`${books.path}-wal`)
    const commits: Promise<unknown>[] = []
    for (const turn of [0, 1, 2]) {
      for (const half of [0, 1]) commits.push(commit([step(write, tries * 6 + turn * 2 + half, '')], 'synced'))
      await setImmediate()
    }
    await Promise.all(commits)
    transactions.push((await transactionsIn(`${books.path}-wal`)) - before)
  }
  expect(transactions).toContain(1)
})

test('what comes alone, after others that came alone, does not wait for company', async () => {
  await using books = await opened()
  const { commit } = books.database
  const before = await transactionsIn(`${books.path}-wal`)
  const first = commit([step(write, 1, '')], 'synced')
  await setImmediate()
  await Promise.all([first, commit([step(write, 2, '')], 'synced')])
  expect((await transactionsIn(`${books.path}-wal`)) - before).toBe(2)
})

test('when its thread ends, what was asked is rejected, and the next command starts another', async () => {
  const workers: Worker[] = []
  const startWorker: SqliteOptions['startWorker'] = (module, options) => {
    const worker = new Worker(module, options)
    workers.push(worker)
    return worker
  }
  await using books = await opened({ startWorker })
  const { commit, read, report } = books.database
  await commit([step(write, 1, '')], 'synced')
  await report(count)
  const answers = Promise.allSettled([commit([step(write, 2, ''), step(write, 3, '')], 'synced'), read(count), report(count)])
  await Promise.all(workers.map(worker => worker.terminate()))
  for (const answer of await answers) expect(answer).toMatchObject({ reason: expect.any(DatabaseAway) })
  expect(await commit([step(write, 4, '')], 'synced')).toMatchObject({ done: true })
  expect([[{ count: 2n }], [{ count: 4n }]]).toContainEqual(await read(count))
  expect(await report(count)).toEqual(await read(count))
  expect(workers).toHaveLength(4)
})

test('a full file takes the commits of a batch but not its reads, and is tried again', async () => {
  await using books = await opened()
  const { commit, read } = books.database
  await commit([step(write, 1, '')], 'synced')
  await read(statement('pragma max_page_count = 1')) // Not below what the file has: SQLite takes that.
  const [seen, ...refused] = await Promise.allSettled([
    read(count),
    commit([step(write, 2, '')], 'ordered'),
    commit([step(write, 3, 'x'.repeat(4 * pageBytes))], 'synced'),
    commit([step(write, 4, '')], 'ordered'),
  ])
  for (const answer of refused) expect(answer).toMatchObject({ reason: expect.any(DatabaseAway) })
  expect(seen).toEqual({ status: 'fulfilled', value: [{ count: 1n }] })
  await read(statement('pragma max_page_count = 1000'))
  expect(await commit([step(write, 3, 'x'.repeat(4 * pageBytes))], 'synced')).toMatchObject({ done: true })
  expect(await read(count)).toEqual([{ count: 2n }])
})

test('a database that can no longer be written is away, and is tried again', async () => {
  await using books = await opened()
  const { commit, read } = books.database
  const halfway = [step(write, 1, ''), step(statement('pragma query_only = on')), step(write, 2, '')]
  await expect(commit(halfway, 'synced')).rejects.toBeInstanceOf(DatabaseAway)
  await expect(commit([step(write, 3, '')], 'synced')).rejects.toBeInstanceOf(DatabaseAway)
  expect(await read(count)).toEqual([{ count: 0n }])
  await read(statement('pragma query_only = off'))
  expect(await commit([step(write, 1, '')], 'synced')).toMatchObject({ done: true })
})

test('a whole number is an integer also where no column says so', async () => {
  await using books = await opened()
  expect(await books.database.read(statement('select $1 as value, typeof($1) as type'), [7])).toEqual([{ value: 7n, type: 'integer' }])
})

test('a commit that the file system refuses is told as one, and works again once there is room', async () => {
  await using folder = await temporaryFolder()
  const child = run(
    `
      const database = await openSqlite(path)
      await database.commit([{ statement: statement(${JSON.stringify(createLines.sql)}), values: [] }], 'synced')
      const write = n => database.commit([{ statement: statement(${JSON.stringify(write.sql)}), values: [n, 'x'.repeat(1000)] }], 'synced')
      let landed = 0
      let refused
      while (refused === undefined && landed < 1000) await write(landed).then(() => landed++, error => { refused = error })
      await database.read(statement('pragma wal_checkpoint(truncate)'))
      await write(1000)
      const [row] = await database.read(statement(${JSON.stringify(count.sql)}))
      console.log(JSON.stringify({ name: refused?.name, landedBefore: landed > 0, unaccounted: Number(row.count) - landed - 1 }))
      await database.close()
    `,
    join(folder.path, 'books.db'),
    'ulimit -f 512;', // The log may not grow beyond 512 blocks of 512 or 1024 bytes.
  )
  expect(await text(child.stdout)).toBe('{"name":"DatabaseAway","landedBefore":true,"unaccounted":0}\n')
})

test('a file locked by another program is away until it is given back', async () => {
  await using books = await opened()
  const { commit, read } = books.database
  using other = new DatabaseSync(books.path)
  other.exec('begin immediate')
  const [refused, seen] = await Promise.allSettled([commit([step(write, 1, '')], 'synced'), read(count)])
  expect(refused).toMatchObject({ reason: expect.any(DatabaseAway) })
  expect(seen).toEqual({ status: 'fulfilled', value: [{ count: 0n }] })
  other.exec('rollback')
  expect(await commit([step(write, 1, '')], 'synced')).toMatchObject({ done: true })
})

test('a long report stands before no commit', async () => {
  await using books = await opened()
  const { commit, report } = books.database
  const long = statement(
    'with recursive up (n) as (select 1 union all select n + 1 from up where n < 3000000) select count(*) as count from up',
  )
  await report(count)
  const ended: string[] = []
  const reported = report(long).then(() => ended.push('report'))
  for (let number = 0; number < 20; number++) {
    await commit([step(write, number, '')], 'ordered')
    ended.push('commit')
  }
  await reported
  expect(ended).toEqual([...Array(20).fill('commit'), 'report'])
})

test('a statement is prepared anew when more of them are in use than are kept', async () => {
  await using books = await opened()
  const { read } = books.database
  const many = Array.from({ length: 1_500 }, (_, index) => statement(`select ${index} as number`))
  const ask = () => Promise.all(many.map(async each => (await read(each))[0]?.number))
  expect(await ask()).toEqual(many.map((_, index) => BigInt(index)))
  expect(await ask()).toEqual(many.map((_, index) => BigInt(index)))
})

test('the program lives until its commits are answered, and not because of the threads', async () => {
  await using folder = await temporaryFolder()
  const child = run(
    `
      const database = await openSqlite(path)
      await database.report(statement('select 1'))
      database.commit([{ statement: statement('create table landed (id bigint)'), values: [] }], 'synced').then(() => console.log('landed'))
    `,
    join(folder.path, 'books.db'),
  )
  const [[code], said] = await Promise.all([once(child, 'exit'), text(child.stdout)])
  expect({ code, said }).toEqual({ code: 0, said: 'landed\n' })
})

test('the program lives until the database is closed', async () => {
  await using folder = await temporaryFolder()
  const child = run(
    `
      const database = await openSqlite(path)
      database.report(statement('select 1')).then(() => console.log('reported'))
      database.commit([{ statement: statement('create table landed (id bigint)'), values: [] }], 'synced').then(() => console.log('landed'))
      await database.close()
      console.log('closed')
    `,
    join(folder.path, 'books.db'),
  )
  const [[code], said] = await Promise.all([once(child, 'exit'), text(child.stdout)])
  expect({ code, said: said.split('\n').sort() }).toEqual({ code: 0, said: ['', 'closed', 'landed', 'reported'] })
})

test('closing leaves one file, with everything in it', async () => {
  await using folder = await temporaryFolder()
  const database = await openSqlite(join(folder.path, 'books.db'))
  await database.commit([step(createLines)], 'synced')
  await database.report(count)
  await database.close()
  expect(await readdir(folder.path)).toEqual(['books.db'])
})

function temporaryFolder() {
  return mkdtempDisposable(join(tmpdir(), 'headgate-'))
}

async function opened(options?: SqliteOptions) {
  const folder = await temporaryFolder()
  const path = join(folder.path, 'books.db')
  const database = await openSqlite(path, options)
  await database.commit([step(createLines)], 'synced')
  return {
    path,
    database,
    async [Symbol.asyncDispose]() {
      await database.close()
      await folder.remove()
    },
  }
}

function step(statement: Statement, ...values: Value[]): Step {
  return { statement, values }
}

/** Another program that uses the database at `path`, started after what a shell says first. */
function run(code: string, path: string, first = '') {
  const program = `
    import { openSqlite } from ${JSON.stringify(new URL('./sqlite.ts', import.meta.url).href)}
    import { statement } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)}
    const path = ${JSON.stringify(path)}
    ${code}
  `
  const shell = `${first} exec "$0" --input-type=module --eval "$1"`
  return spawn('sh', ['-c', shell, process.execPath, program], { stdio: ['ignore', 'pipe', 'inherit'] })
}

/** Of a log that was never begun anew: frames that end a transaction say the size of the database (sqlite.org/fileformat2.html, 4.1). */
async function transactionsIn(log: string): Promise<number> {
  const bytes = await readFile(log)
  let count = 0
  for (let at = logHeaderBytes; at + frameHeaderBytes <= bytes.length; at += frameHeaderBytes + pageBytes)
    if (bytes.readUInt32BE(at + 4) > 0) count += 1
  return count
}
