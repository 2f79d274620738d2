// What Terraform's provider does first and last with a cloud, by the library it stands on: strictly typed answers.
package main

import (
	"fmt"
	"os"

	"github.com/apache/cloudstack-go/v2/cloudstack"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	cs := cloudstack.NewAsyncClient(os.Args[1], os.Args[2], os.Args[3], false)
	zone, template, offering := os.Args[4], os.Args[5], os.Args[6]
	zoneID, _, err := cs.Zone.GetZoneID(zone)
	must(err)
	templateID, _, err := cs.Template.GetTemplateID(template, "executable", zoneID)
	must(err)
	offeringID, _, err := cs.ServiceOffering.GetServiceOfferingID(offering)
	must(err)

	groups := cs.AffinityGroup.NewCreateAffinityGroupParams("go", "host anti-affinity")
	group, err := cs.AffinityGroup.CreateAffinityGroup(groups)
	must(err)
	asked := cs.VirtualMachine.NewDeployVirtualMachineParams(offeringID, templateID, zoneID)
	asked.SetName("by-go")
	asked.SetAffinitygroupids([]string{group.Id})
	made, err := cs.VirtualMachine.DeployVirtualMachine(asked)
	must(err)
	vm, count, err := cs.VirtualMachine.GetVirtualMachineByID(made.Id)
	must(err)
	fmt.Println("deployed", count, vm.Name, vm.State, vm.Cpunumber, vm.Memory, len(vm.Nic), vm.Affinitygroup[0].Name)

	volumes := cs.Volume.NewListVolumesParams()
	volumes.SetVirtualmachineid(vm.Id)
	disks, err := cs.Volume.ListVolumes(volumes)
	must(err)
	fmt.Println("volumes", disks.Count, disks.Volumes[0].Type, disks.Volumes[0].State)
	_, err = cs.Snapshot.CreateSnapshot(cs.Snapshot.NewCreateSnapshotParams(disks.Volumes[0].Id))
	must(err)
	snapshots, err := cs.Snapshot.ListSnapshots(cs.Snapshot.NewListSnapshotsParams())
	must(err)
	fmt.Println("snapshots", snapshots.Count, snapshots.Snapshots[0].State)
	_, err = cs.Snapshot.DeleteSnapshot(cs.Snapshot.NewDeleteSnapshotParams(snapshots.Snapshots[0].Id))
	must(err)

	_, err = cs.VirtualMachine.StopVirtualMachine(cs.VirtualMachine.NewStopVirtualMachineParams(vm.Id))
	must(err)
	gone := cs.VirtualMachine.NewDestroyVirtualMachineParams(vm.Id)
	gone.SetExpunge(true)
	_, err = cs.VirtualMachine.DestroyVirtualMachine(gone)
	must(err)
	end := cs.AffinityGroup.NewDeleteAffinityGroupParams()
	end.SetId(group.Id)
	_, err = cs.AffinityGroup.DeleteAffinityGroup(end)
	must(err)
	_, count, err = cs.VirtualMachine.GetVirtualMachineByID(vm.Id)
	fmt.Println("gone", count, err != nil)
}
