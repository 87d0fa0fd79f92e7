#!/usr/bin/env bash
# Makes the kind cluster of kind-cluster.yaml with all that a rollout needs, the operator by its chart, and two examples
# with TensorFlow Serving's own image. `make kind` calls it. May be repeated; `kind delete cluster --name modelrollout`
# ends it. Needs Docker, kind, kubectl and Helm.
set -euo pipefail
cd "$(dirname "$0")/.."

CLUSTER=modelrollout
IMAGE=modelrollout:kind
ENVOY_GATEWAY=v1.9.1
PYTHON=${PYTHON:-python3}

for program in docker kind kubectl helm; do
  command -v "$program" >/dev/null || { echo "not on PATH: $program" >&2; exit 1; }
done

# Before the cluster: a folder that is not there would be made by Docker, for root alone.
for model in recsys half-plus-two; do
  for version in 1 2; do
    [ -d ".playground/models/$model/$version" ] ||
      "$PYTHON" -m playground.toolchain python -m playground.models make .playground/models --name "$model" --version "$version"
  done
done

kind get clusters | grep -qx "$CLUSTER" || kind create cluster --config kind-cluster.yaml
kubectl config use-context "kind-$CLUSTER"
# GPUs that are not there: the kubelet keeps what it is told of resources that no device plugin manages.
for node in $(kubectl get nodes --selector nvidia.com/gpu.present=true --output name); do
  kubectl patch "$node" --subresource=status --type=merge --patch '{"status": {"capacity": {"nvidia.com/gpu": "4"}}}'
done

helm upgrade --install envoy-gateway oci://docker.io/envoyproxy/gateway-helm --version "$ENVOY_GATEWAY" \
  --namespace envoy-gateway-system --create-namespace --wait
kubectl apply --server-side --filename kind/gateway.yaml --filename kind/prometheus.yaml

docker build --file operator/Dockerfile --tag "$IMAGE" .
kind load docker-image "$IMAGE" --name "$CLUSTER"
helm upgrade --install modelrollout helm/modelrollout --namespace modelrollout-system --create-namespace \
  --set "image.repository=${IMAGE%:*},image.tag=${IMAGE#*:}" --wait

kubectl apply --server-side --filename examples/cpu.yaml --filename examples/fake-gpus.yaml
kubectl wait modelrollout --all --for=condition=Ready --timeout=10m
kubectl get modelrollout

cat <<'NEXT'
The gateway is at localhost:8888. To ask, and to roll version 2 out:

    curl -H 'Host: recsys.models.example.com' -d '{"instances": [1.0]}' localhost:8888/v1/models/recsys:predict
    kubectl patch mro recsys --type=merge -p '{"spec": {"model": {"version": 2}}}'
    kubectl get mro recsys -w
NEXT
