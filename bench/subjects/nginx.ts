import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayCore } from '../cores.ts'
import { childrenOf, freePort, isThere, startProgram } from './program.ts'
import type { Ground, Running, Subject } from './subject.ts'

/** What a proxy in C costs that reads no body and books nothing: the floor of the floor. */
export const nginx: Subject = {
  name: 'nginx',
  about: 'nginx proxy_pass: one worker, keep-alive on both sides, no log, books nothing',
  ...(isThere('nginx', '-v') ? {} : { missing: 'nginx is not on the PATH; "apt-get install nginx-light" brings it' }),
  start: startNginx,
}

async function startNginx({ upstreamPort, folder }: Ground): Promise<Running> {
  const port = await freePort()
  const own = join(folder, 'nginx')
  mkdirSync(own)
  writeFileSync(join(own, 'nginx.conf'), configOf(port, upstreamPort))
  const words = ['nginx', '-p', own, '-c', 'nginx.conf', '-e', join(own, 'error.log')]
  const started = await startProgram({ core: gatewayCore, words, log: join(own, 'nginx.log') }, port)
  return {
    port,
    pids: () => [started.pid, ...childrenOf(started.pid)],
    callers: [{ key: 'sk-bench-1' }, { key: 'sk-bench-2' }],
    [Symbol.asyncDispose]: () => started.stop(),
  }
}

const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

function configOf(port: number, upstreamPort: number): string {
  return `daemon off;
pid nginx.pid;
worker_processes 1;
worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary.map(name => `${name}_temp_path ${name};`).join('\n  ')}
  keepalive_requests 1000000000;
  upstream api {
    server 127.0.0.1:${upstreamPort};
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # What comes is passed on as it comes, as events have to be.
      proxy_buffering off;
    }
  }
}
`
}
