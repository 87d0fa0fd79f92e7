// Reads manifests from standard input and decodes each strictly as the type that it says it is: types of which the
// playground's API server knows nothing. Called by tests/chart; prints what is wrong, a line each, and then exits with 1.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	yaml3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/yaml"
	kind "sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
	strict "sigs.k8s.io/yaml"
)

type named struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

func decode(document []byte, as named) error {
	switch as {
	case named{"monitoring.coreos.com/v1", "PodMonitor"}:
		return strict.UnmarshalStrict(document, &monitoring.PodMonitor{})
	case named{"monitoring.coreos.com/v1", "ServiceMonitor"}:
		return strict.UnmarshalStrict(document, &monitoring.ServiceMonitor{})
	case named{"monitoring.coreos.com/v1", "PrometheusRule"}:
		return strict.UnmarshalStrict(document, &monitoring.PrometheusRule{})
	case named{"kind.x-k8s.io/v1alpha4", "Cluster"}:
		// As kind itself reads it: its types have no tags for JSON.
		decoder := yaml3.NewDecoder(bytes.NewReader(document))
		decoder.KnownFields(true)
		return decoder.Decode(&kind.Cluster{})
	}
	return errors.New("no such type is known here")
}

func main() {
	failed := false
	documents := yaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var as named
		if err == nil {
			err = strict.Unmarshal(document, &as)
		}
		if err == nil && as != (named{}) {
			err = decode(document, as)
		}
		if err != nil {
			fmt.Printf("%s %s: %v\n", as.APIVersion, as.Kind, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
