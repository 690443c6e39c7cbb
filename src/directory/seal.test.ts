import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NotUnsealed, openSeal, readSecretKey } from './seal.ts'

const key = Buffer.alloc(32, 1)
const identity = 'account:1:api_key'

describe('what is sealed', () => {
  const seal = openSeal(key)

  test('opens with the same key for the same identity', () => {
    for (const secret of ['', 'sk-1', 'ключ 🔑', 'x'.repeat(10_000)])
      expect(seal.unseal(seal.seal(secret, identity), identity)).toBe(secret)
  })

  test('looks different each time, and shows nothing of the secret', () => {
    const sealed = [1, 2].map(() => seal.seal('sk-canary', identity))
    expect(sealed[0]).not.toBe(sealed[1])
    for (const one of sealed) {
      expect(one).toMatch(/^v1\.[\w-]+$/)
      expect(Buffer.from(one.slice(3), 'base64url').includes('canary')).toBe(false)
    }
  })

  const sealed = seal.seal('sk-canary', identity)
  const bytes = Buffer.from(sealed.slice(3), 'base64url')
  const changed = (at: number) => {
    const copy = Buffer.from(bytes)
    copy[at]! ^= 1
    return `v1.${copy.toString('base64url')}`
  }
  const cases = [
    ['moved to another row', () => seal.unseal(sealed, 'account:2:api_key')],
    ['asked for with another key', () => openSeal(Buffer.alloc(32, 2)).unseal(sealed, identity)],
    ['with a changed nonce', () => seal.unseal(changed(0), identity)],
    ['with a changed text', () => seal.unseal(changed(12), identity)],
    ['with a changed tag', () => seal.unseal(changed(bytes.length - 1), identity)],
    ['cut short', () => seal.unseal(sealed.slice(0, 30), identity)],
    ['of another version', () => seal.unseal(`v2.${sealed.slice(3)}`, identity)],
    ['in the clear', () => seal.unseal('sk-canary', identity)],
  ] as const
  for (const [what, open] of cases) {
    test(`${what}, does not open, and the error does not tell it`, () => {
      expect(open).toThrow(NotUnsealed)
      expect(open).toThrow(/^The sealed text of account:[12]:api_key (does not open|is damaged)/)
      expect(open).not.toThrow(/canary/)
    })
  }

  test('wants a key of 32 bytes', () => {
    expect(() => openSeal(Buffer.alloc(16))).toThrow('The secret key has 16 bytes; it must have 32.')
  })
})

describe('the secret key', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'headgate-seal-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const read = (secretKeyText: string | null = null) => readSecretKey({ secretKeyText, folder })

  test('is made once, readable by its owner only, and read again', () => {
    const made = read()
    const path = join(folder, 'secret.key')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readFileSync(path, 'utf8')).toBe(`${made.toString('hex')}\n`)
    expect(read()).toEqual(made)
  })

  test('may be given as hexadecimal digits or as base64', () => {
    const bytes = Buffer.from(Array.from({ length: 32 }, (_, n) => 255 - n))
    for (const text of [
      bytes.toString('hex'),
      bytes.toString('hex').toUpperCase(),
      bytes.toString('base64'),
      bytes.toString('base64url'),
    ]) {
      expect(read(text)).toEqual(bytes)
    }
    expect(statSync(join(folder, 'secret.key'), { throwIfNoEntry: false })).toBe(undefined)
  })

  for (const text of [
    'a'.repeat(63),
    'a'.repeat(65),
    Buffer.alloc(31).toString('base64'),
    Buffer.alloc(33).toString('base64'),
    'correct horse battery staple',
  ]) {
    test(`"${text.slice(0, 12)}…" of ${text.length} characters is refused, and not told`, () => {
      expect(() => read(text)).toThrow('HEADGATE_SECRET_KEY is not a secret key: it must be 32 bytes')
      expect(() => read(text)).not.toThrow(text)
    })
  }

  test('in a file that others can read is refused with what to do', () => {
    const path = join(folder, 'secret.key')
    read()
    for (const mode of [0o644, 0o640, 0o604]) {
      chmodSync(path, mode)
      expect(() => read()).toThrow(
        `${path} can be read by others than its owner (its mode is ${mode.toString(8)}). Run "chmod 600 ${path}"`,
      )
    }
    chmodSync(path, 0o400)
    read()
  })

  test('in a file of the wrong length is refused', () => {
    const path = join(folder, 'secret.key')
    writeFileSync(path, 'abc\n', { mode: 0o600 })
    expect(() => read()).toThrow(`${path} is not a secret key`)
  })
})
