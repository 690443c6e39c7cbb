import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { DatabaseAway } from '../storage/database.ts'
import { type Owed, type OwedTrouble, openOwed } from './owed.ts'

interface Charge {
  readonly callId: string
  readonly cost: bigint
  readonly row?: unknown
}

let folder: string
let path: string
let troubles: OwedTrouble[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'headgate-owed-'))
  path = join(folder, 'owed.journal')
  troubles = []
})
afterEach(() => rm(folder, { recursive: true }))

test('a charge comes back as it was, after the process has ended, once', async () => {
  const charge = {
    callId: 'r1',
    cost: 12_345_678_901_234_567_890n,
    row: { agent: 'zeile\n"ü" 12n', list: [1, null, { amount: 0n, text: '5' }] },
  }
  await using first = await openJournal()
  await first.add(charge)
  await first[Symbol.asyncDispose]()
  await using second = await openJournal()
  expect(second.size).toBe(1)
  expect(await takeAll(second)).toEqual([charge])
  expect(second.size).toBe(0)
  await second[Symbol.asyncDispose]()
  await using third = await openJournal()
  expect(await takeAll(third)).toEqual([])
  expect(troubles).toEqual([])
})

test('the journal is readable by its owner alone, and empty once all is taken', async () => {
  await using owed = await openJournal()
  await owed.add(charge('r1'))
  const { mode, size } = await stat(path)
  expect(mode & 0o777).toBe(0o600)
  expect(size).toBeGreaterThan(0)
  await takeAll(owed)
  expect((await stat(path)).size).toBe(0)
})

test('charges come in the order in which they were added, many at once and while others are taken', async () => {
  await using owed = await openJournal()
  const ids = Array.from({ length: 500 }, (_, index) => `r${index}`)
  await Promise.all(ids.map(id => owed.add(charge(id))))
  const taken: string[] = []
  await owed.replay(async ({ callId }) => {
    if (taken.push(callId) === 100) await owed.add(charge('late'))
  })
  expect(taken).toEqual([...ids, 'late'])
  expect((await stat(path)).size).toBe(0)
})

test('when the books go away in between, what was taken is forgotten and the rest is kept', async () => {
  await using owed = await openJournal()
  for (const id of ['r1', 'r2', 'r3']) await owed.add(charge(id))
  const taken: string[] = []
  const untilAway = async ({ callId }: Charge) => {
    if (callId === 'r2') throw new DatabaseAway('away')
    taken.push(callId)
  }
  await expect(owed.replay(untilAway)).rejects.toThrow(DatabaseAway)
  expect([taken, owed.size]).toEqual([['r1'], 2])
  expect((await takeAll(owed)).map(({ callId }) => callId)).toEqual(['r2', 'r3'])
})

test('a charge that the books refuse is told and kept, and does not hold up the others', async () => {
  await using owed = await openJournal()
  for (const id of ['r1', 'bad', 'r2']) await owed.add(charge(id))
  const taken: string[] = []
  await owed.replay(async ({ callId }) => {
    if (callId === 'bad') throw new Error('no such wallet')
    taken.push(callId)
  })
  expect(taken).toEqual(['r1', 'r2'])
  expect(troubles).toMatchObject([{ trouble: 'refused', cause: { message: 'no such wallet' } }])
  expect((await takeAll(owed)).map(({ callId }) => callId)).toEqual(['bad'])
})

test('two replays at once are one', async () => {
  await using owed = await openJournal()
  for (const id of ['r1', 'r2']) await owed.add(charge(id))
  const taken: string[] = []
  const take = async ({ callId }: Charge) => void taken.push(callId)
  await Promise.all([owed.replay(take), owed.replay(take)])
  expect(taken).toEqual(['r1', 'r2'])
})

test('after a crash between taking and forgetting, charges come a second time', async () => {
  await using owed = await openJournal()
  for (const id of ['r1', 'r2']) await owed.add(charge(id))
  const copy = join(folder, 'as-the-crash-left-it')
  await owed.replay(async ({ callId }) => {
    if (callId === 'r2') await cp(path, copy)
  })
  await using reopened = await openJournal(copy)
  expect((await takeAll(reopened)).map(({ callId }) => callId)).toEqual(['r1', 'r2'])
})

test('wherever a power cut tears the last line, the lines before it are taken and the journal can be written again', async () => {
  await using owed = await openJournal()
  for (const each of [charge('r1'), { ...charge('r2'), row: 'longer than the next' }]) await owed.add(each)
  await owed[Symbol.asyncDispose]()
  const whole = await readFile(path)
  const firstLine = whole.indexOf('\n') + 1
  for (let length = firstLine; length < whole.length; length++) {
    troubles = []
    await writeFile(path, whole.subarray(0, length))
    await using torn = await openJournal()
    const line = whole.subarray(firstLine, length).toString()
    expect(troubles).toEqual(length === firstLine ? [] : [{ trouble: 'torn', line }])
    await torn.add(charge('r3'))
    await torn[Symbol.asyncDispose]()
    await using mended = await openJournal()
    expect(troubles.length).toBeLessThan(2)
    expect((await takeAll(mended)).map(({ callId }) => callId)).toEqual(['r1', 'r3'])
  }
  expect(await readFile(`${path}.damaged`, 'utf8')).toContain('"callId":"r2"')
})

test('whichever byte of a line is flipped, that line is told and set aside, and the others are taken', async () => {
  await using owed = await openJournal()
  for (const id of ['r1', 'r2', 'r3']) await owed.add(charge(id))
  await owed[Symbol.asyncDispose]()
  const whole = await readFile(path)
  const start = whole.indexOf('\n') + 1
  const end = whole.indexOf('\n', start)
  for (let at = start; at < end; at++) {
    troubles = []
    const flipped = Buffer.from(whole)
    flipped[at]! ^= 0x01
    await writeFile(path, flipped)
    await rm(`${path}.damaged`, { force: true })
    await using damaged = await openJournal()
    expect((await takeAll(damaged)).map(({ callId }) => callId)).toEqual(['r1', 'r3'])
    expect(troubles.map(({ trouble }) => trouble)).not.toContain('torn')
    expect(troubles.length).toBeGreaterThan(0)
    expect(await readFile(`${path}.damaged`)).toEqual(flipped.subarray(start, end + 1))
  }
  expect((await stat(`${path}.damaged`)).mode & 0o777).toBe(0o600)
})

test('what a full disk cut short is refused and leaves nothing behind', async () => {
  const program = `
    import { openOwed } from ${JSON.stringify(new URL('./owed.ts', import.meta.url).href)}
    const owed = await openOwed(${JSON.stringify(path)}, trouble => console.log(trouble.trouble))
    await owed.add({ callId: 'before' })
    await owed.add({ callId: 'large', text: 'x'.repeat(10_000) }).catch(error => console.log(error.code))
    await owed.add({ callId: 'after' })
    await owed[Symbol.asyncDispose]()`
  const limited = `ulimit -f 8; exec "$0" --input-type=module -e "$1"`
  const { stdout } = await promisify(execFile)('sh', ['-c', limited, process.execPath, program])
  expect(stdout).toBe('EFBIG\n')
  await using owed = await openJournal()
  expect((await takeAll(owed)).map(({ callId }) => callId)).toEqual(['before', 'after'])
  expect(troubles).toEqual([])
})

test('a torn end for which there is no room keeps the journal shut, and is still there', async () => {
  await writeFile(path, '12345678 {"callId":')
  const program = `
    import { openOwed } from ${JSON.stringify(new URL('./owed.ts', import.meta.url).href)}
    await openOwed(${JSON.stringify(path)}, () => {}).catch(error => console.log(error.message))`
  const limited = `ulimit -f 0; exec "$0" --input-type=module -e "$1" | cat`
  const { stdout } = await promisify(execFile)('sh', ['-c', limited, process.execPath, program])
  expect(stdout).toBe(`The journal of owed charges ${path} cannot be opened: EFBIG: file too large, write.\n`)
  expect(await readFile(path, 'utf8')).toBe('12345678 {"callId":')
})

function charge(callId: string): Charge {
  return { callId, cost: 5n }
}

function openJournal(at = path): Promise<Owed<Charge>> {
  return openOwed<Charge>(at, trouble => troubles.push(trouble))
}

async function takeAll(owed: Owed<Charge>): Promise<readonly Charge[]> {
  const taken: Charge[] = []
  await owed.replay(async charge => void taken.push(charge))
  return taken
}
