# uplinkd in a container that routes for the machine it runs on:
#
#   docker build -t uplinkd .
#   docker run -d --name uplinkd --restart always --network host \
#     --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --security-opt systempaths=unconfined \
#     -v /etc/uplinkd:/etc/uplinkd:ro -v /var/lib/uplinkd:/var/lib/uplinkd -v /run/uplinkd:/run/uplinkd uplinkd
#
# systempaths=unconfined (podman: unmask=/proc/sys) makes /proc/sys writable: uplinkd sets ip_forward and rp_filter itself.
# Without it status names each sysctl to be set on the host. `exec` targets need --cap-add SETUID, SETGID, KILL and BPF besides. Any image with Debian and Node 20 or newer is a BASE.
ARG BASE=docker.io/library/node:20-bookworm-slim

FROM ${BASE} AS build
WORKDIR /usr/lib/uplinkd
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN sh .ci/bundle \
 && npm prune --omit=dev --no-audit --no-fund \
 && rm -rf .ci src tsconfig.json dist/src dist/.tsbuildinfo

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends iptables nftables \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/lib/uplinkd /usr/lib/uplinkd
RUN ln -s ../lib/uplinkd/dist/bin/uplinkd.js /usr/bin/uplinkd \
 && ln -s ../lib/uplinkd/dist/bin/uplinkctl.js /usr/bin/uplinkctl
VOLUME ["/etc/uplinkd", "/var/lib/uplinkd"]
# Alive, not "the internet works": a restart would not mend a line.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["uplinkctl", "active"]
ENTRYPOINT ["uplinkd"]
CMD ["run"]
