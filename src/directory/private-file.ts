import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** A file that only its owner may read, and whether it was made just now. */
export interface PrivateFile {
  readonly text: string
  readonly made: boolean
}

const ownerOnly = 0o600
const readableByOthers = 0o077

/**
 * Reads a secret from a file of one line, or makes the file when it is missing. It is on the disk when this returns, because
 * what is sealed with it could never be read again if a power cut took it.
 * Throws when others may read the file: then it is no secret, and who made it so should know.
 */
export function readOrMakePrivateFile(path: string, make: () => string): PrivateFile {
  const mode = statSync(path, { throwIfNoEntry: false })?.mode
  if (mode === undefined) return { text: makeFile(path, make()), made: true }
  if ((mode & readableByOthers) !== 0) {
    const shown = (mode & 0o777).toString(8)
    throw new Error(
      `${path} can be read by others than its owner (its mode is ${shown}). Run "chmod 600 ${path}", or make a new secret if they have seen it.`,
    )
  }
  return { text: readFileSync(path, 'utf8').trim(), made: false }
}

function makeFile(path: string, text: string): string {
  const file = openSync(path, 'wx', ownerOnly)
  try {
    writeSync(file, `${text}\n`)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  syncFolder(dirname(path))
  return text
}

/** The name of a new file is part of its folder, which has to reach the disk too. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
