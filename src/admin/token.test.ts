import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isToken, readAdminToken } from './token.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-token-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a token is made once, readable by its owner only, and read again', () => {
  const { token, made } = readAdminToken({ adminTokenText: null, folder })
  expect(made).toBe(true)
  expect(token).toMatch(/^hgadm-[\w-]{43}$/)
  const path = join(folder, 'admin.token')
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path, 'utf8')).toBe(`${token}\n`)
  expect(readAdminToken({ adminTokenText: null, folder })).toEqual({ token, made: false })
})

test('one that was given wins, and no file is made', () => {
  expect(readAdminToken({ adminTokenText: 'given-by-the-operator', folder })).toEqual({ token: 'given-by-the-operator', made: false })
  expect(statSync(join(folder, 'admin.token'), { throwIfNoEntry: false })).toBe(undefined)
})

test('a file that others can read, or that has next to nothing in it, is refused with what to do', () => {
  const path = join(folder, 'admin.token')
  writeFileSync(path, 'short\n', { mode: 0o600 })
  expect(() => readAdminToken({ adminTokenText: null, folder })).toThrow('remove the file, and a new one is made')
  chmodSync(path, 0o640)
  expect(() => readAdminToken({ adminTokenText: null, folder })).toThrow(`Run "chmod 600 ${path}"`)
})

test('only the token itself is the token', () => {
  for (const presented of ['', 'secre', 'secret ', 'Secret', 'secrets']) expect(isToken(presented, 'secret')).toBe(false)
  expect(isToken('secret', 'secret')).toBe(true)
})
