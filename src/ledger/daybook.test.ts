import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Daybook, halfBytes, openDaybook, readDaybook } from './daybook.ts'

let folder: string
let file: string
let daybook: Daybook
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-daybook-'))
  file = join(folder, 'calls.daybook')
  daybook = openDaybook(file)
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
  daybook = openDaybook(file)
  const writing = write('last')
  await daybook.close()
  await writing
  expect(left(), 'what they lack stays').toEqual(['last'])
  daybook = openDaybook(file)
})

test('whoever goes on with it writes behind what is there, and that alone is read', async () => {
  for (const n of [1, 2, 3]) await write(n)
  await daybook.close()
  for (const n of [4, 5]) {
    daybook = openDaybook(file)
    expect(left()).toEqual(n === 4 ? [1, 2, 3] : [4])
    await write(n)
    expect(left()).toEqual([n])
    await daybook.close()
  }
  daybook = openDaybook(file)
})

test('the halves are written in turns, and neither before the books have all of it', async () => {
  const long = 'x'.repeat(halfBytes / 4)
  const writeLong = (n: number) => daybook.add(JSON.stringify(`${n} ${long}`))
  const numbers = () => left().map(line => Number(String(line).split(' ')[0]))
  for (const n of [1, 2, 3]) await writeLong(n)!.written
  for (const n of [4, 5, 6]) await writeLong(n)!.written
  expect(writeLong(7), 'the first half is still needed').toBeUndefined()
  daybook.posted(3)
  expect(writeLong(7), 'by its last line').toBeUndefined()
  daybook.posted(4)
  expect(await writeLong(7)!.written.then(numbers)).toEqual([4, 5, 6, 7])
  for (const n of [8, 9]) await writeLong(n)!.written
  expect(writeLong(10)).toBeUndefined()
  daybook.posted(7)
  expect(await writeLong(10)!.written.then(numbers)).toEqual([7, 8, 9, 10])
  expect(daybook.add(JSON.stringify('x'.repeat(halfBytes))), 'a line longer than a half').toBeUndefined()
  expect(statSync(file).size).toBe(2 * halfBytes)
})

test('lines that were being added as the half was full go to both', async () => {
  const long = 'x'.repeat(halfBytes / 4)
  const written = [1, 2, 3, 4, 5].map(n => daybook.add(JSON.stringify(`${n} ${long}`))!.written)
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
  daybook = openDaybook(file)
  await write('a')
  expect(left()).toEqual(['a'])
  expect(() => openDaybook(folder)).toThrow(`The daybook ${folder} cannot be used: `)
  expect(() => readDaybook(folder)).toThrow(`The daybook ${folder} cannot be used: `)
})

test('what cannot be written is said to whoever waits for it, and the next line is tried', async () => {
  await daybook.close()
  await expect(daybook.add('1')!.written).rejects.toThrow('EBADF')
  await expect(daybook.add('2')!.written).rejects.toThrow('EBADF')
  daybook = openDaybook(file)
  await write('again')
  expect(left()).toEqual(['again'])
})

function write(value: unknown): Promise<void> {
  return daybook.add(JSON.stringify(value))!.written
}

function left(): unknown[] {
  return readDaybook(file).lines.map(line => JSON.parse(line))
}
