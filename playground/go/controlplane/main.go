// Command controlplane is Kubernetes' control plane and kubectl in one binary.
//
// It runs as the program whose name it is called by, so that links to one file replace
// files of more than 80 MB each. The playground's toolchain (playground/toolchain) builds it from
// the published Go modules and makes the links; playground/controlplane.py starts them.
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	certutil "k8s.io/client-go/util/cert"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// certificates writes the API server's certificate and key, which also signs service account tokens, into a folder.
// The Python side has no library that could, and kube-apiserver's own certificate lacks the host's loopback address.
func certificates(folder string) error {
	addresses := []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("10.96.0.1")}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	certificate, key, err := certutil.GenerateSelfSignedCertKey("10.0.0.1", addresses, names)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "apiserver.crt"), certificate, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "apiserver.key"), key, 0o600)
}

func main() {
	name := filepath.Base(os.Args[0])
	if name == "etcd" {
		etcdmain.Main(os.Args)
		return
	}
	if name == "kubectl" {
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return
	}
	if name == "certificates" && len(os.Args) == 2 {
		if err := certificates(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllermanager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	}
	command, known := commands[name]
	if !known {
		fmt.Fprintf(os.Stderr, "controlplane: call it etcd, kubectl or by a control plane program's name, not %q\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}
