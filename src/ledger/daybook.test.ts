import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { manualClock } from './books.fixture.ts'
import { type Daybook, halfBytes, openDaybook, readDaybook } from './daybook.ts'

let folder: string
let file: string
let daybook: Daybook
const clock = manualClock(0)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-daybook-'))
  file = join(folder, 'calls.daybook')
  daybook = openDaybook(file, clock, 250)
})
afterEach(async () => {
  await daybook.close()
  rmSync(folder, { recursive: true })
})

test('what has reached the disk is what the next one reads', async () => {
  expect(left(), 'of a new one').toEqual([])
  expect(readDaybook(join(folder, 'none'))).toEqual({ lines: [], damaged: 0 })
  const lines = [{ text: 'one' }, { text: 'ü"\n\u0000😀' }, { text: 'three' }]
  await Promise.all(lines.map(write))
  expect(left()).toEqual(lines)
  expect(statSync(file)).toMatchObject({ size: 2 * halfBytes })
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('what the books have is not read again', async () => {
  for (const n of [1, 2, 3]) await write(n)
  daybook.posted(3)
  expect(left(), 'as the last line says').toEqual([1, 2, 3])
  await write(4)
  expect(left()).toEqual([3, 4])
  daybook.posted(2) // Never back.
  await write(5)
  expect(left()).toEqual([3, 4, 5])
  daybook.posted(Number.POSITIVE_INFINITY)
  await write(6)
  expect(left()).toEqual([6])
})

test('closed when the books have all, it says so', async () => {
  for (const n of [1, 2]) await write(n)
  daybook.posted(3)
  await daybook.close()
  expect(left()).toEqual([])
  daybook = openDaybook(file, clock, 250)
  const writing = write('last')
  await daybook.close()
  await writing
  expect(left(), 'what they lack stays').toEqual(['last'])
  daybook = openDaybook(file, clock, 250)
})

test('whoever goes on with it writes behind what is there, and that alone is read', async () => {
  for (const n of [1, 2, 3]) await write(n)
  await daybook.close()
  for (const n of [4, 5]) {
    daybook = openDaybook(file, clock, 250)
    expect(left()).toEqual(n === 4 ? [1, 2, 3] : [4])
    await write(n)
    expect(left()).toEqual([n])
    await daybook.close()
  }
  daybook = openDaybook(file, clock, 250)
})

test('the halves are written in turns, and neither before the books have all of it', async () => {
  const long = 'x'.repeat(halfBytes / 4)
  const writeLong = (n: number) => write(`${n} ${long}`)
  const numbers = () => left().map(line => Number(String(line).split(' ')[0]))
  for (const n of [1, 2, 3]) await writeLong(n)
  for (const n of [4, 5, 6]) await writeLong(n)
  await expect(writeLong(7), 'the first half is still needed').rejects.toThrow('no room')
  daybook.posted(3)
  await expect(writeLong(7), 'by its last line').rejects.toThrow('no room')
  daybook.posted(4)
  expect(await writeLong(7).then(numbers)).toEqual([4, 5, 6, 7])
  for (const n of [8, 9]) await writeLong(n)
  await expect(writeLong(10)).rejects.toThrow('no room')
  daybook.posted(7)
  expect(await writeLong(10).then(numbers)).toEqual([7, 8, 9, 10])
  await expect(write('x'.repeat(halfBytes)), 'a line longer than a half').rejects.toThrow('no room')
  expect(statSync(file).size).toBe(2 * halfBytes)
})

test('lines that were being added as the half was full go to both', async () => {
  const long = 'x'.repeat(halfBytes / 4)
  const written = [1, 2, 3, 4, 5].map(n => write(`${n} ${long}`))
  await Promise.all(written)
  expect(left().map(line => String(line)[0])).toEqual(['1', '2', '3', '4', '5'])
})

test('a torn end is left out, and a line that was changed is told of and kept', async () => {
  for (const n of [1, 2, 3]) await write({ n, text: 'some text' })
  const whole = readFileSync(file)
  const end = whole.indexOf(0)
  writeFileSync(file, Buffer.concat([whole.subarray(0, end - 5), Buffer.alloc(whole.length - end + 5)]))
  expect(readDaybook(file)).toMatchObject({ lines: [JSON.stringify({ n: 1, text: 'some text' }), expect.anything()], damaged: 0 })
  expect(existsSync(`${file}.damaged`)).toBe(false)

  const changed = Buffer.from(whole)
  changed[changed.indexOf('"n":2') + 4] = '7'.charCodeAt(0)
  writeFileSync(file, changed)
  expect(readDaybook(file)).toEqual({ lines: [1, 3].map(n => JSON.stringify({ n, text: 'some text' })), damaged: 1 })
  expect(readFileSync(`${file}.damaged`).equals(changed)).toBe(true)
})

test('a file that is no daybook gives way to one, and a folder in its place is told of', async () => {
  await daybook.close()
  truncateSync(file, 100)
  daybook = openDaybook(file, clock, 250)
  await write('a')
  expect(left()).toEqual(['a'])
  expect(() => openDaybook(folder, clock, 250)).toThrow(`The daybook ${folder} cannot be used: `)
  expect(() => readDaybook(folder)).toThrow(`The daybook ${folder} cannot be used: `)
})

test('what cannot be written is said to whoever waits for it, and the next line is tried', async () => {
  await daybook.close()
  await expect(write('lost')).rejects.toThrow('EBADF')
  await expect(write('lost, too')).rejects.toThrow('EBADF')
  daybook = openDaybook(file, clock, 250)
  await write('again')
  expect(left()).toEqual(['again'])
})

test('nothing stands behind a gap: what was not written goes with what comes next', async () => {
  await write('acknowledged')
  // No file may grow beyond its first byte for a moment, as on a disk that takes no write.
  const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:unlimited`])
  const ignored = () => {}
  process.on('SIGXFSZ', ignored)
  limit('0')
  try {
    await expect(write('failed')).rejects.toThrow('EFBIG')
  } finally {
    limit('unlimited')
    process.off('SIGXFSZ', ignored)
  }
  await write('acknowledged, too')
  expect(readDaybook(file)).toEqual({ lines: ['"acknowledged"', '"failed"', '"acknowledged, too"'], damaged: 0 })
})

test('who waits too long is told so, once', async () => {
  const told: unknown[] = []
  daybook.add('"slow"', { written: error => void told.push(error) })
  clock.advance(250) // It comes alone, so it is being written.
  expect(told).toEqual([new Error('no answer in 250 ms')])
  await expect(write('meanwhile'), 'nobody waits behind it').rejects.toThrow('no room')
  while ((await write('next').catch(() => 'no room')) !== undefined) await new Promise(resolve => setImmediate(resolve))
  expect([told.length, left()]).toEqual([1, ['slow', 'next']])
})

function write(value: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const number = daybook.add(JSON.stringify(value), { written: error => (error === undefined ? resolve() : reject(error)) })
    if (number === undefined) reject(new Error('no room'))
  })
}

function left(): unknown[] {
  return readDaybook(file).lines.map(line => JSON.parse(line))
}
