// Every command computes with all cores, and bench counts the allocations of the whole process.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
